package definition

import (
	"fmt"
	"regexp"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/xds/operator"
	"github.com/sluice-proxy/sluice/xds/resource"
)

var (
	headerName  = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_|~`-]+$")
	headerValue = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$`)
)

// checkRequestHeaders looks at what becomes of a request's headers.
func checkRequestHeaders(c *sluicev1.HeaderChanges, at string, report reporter) {
	checkHeaders(c, at, operator.OfRequest, report)
	for i, h := range c.GetSet() {
		notForEnvoy(h.GetName(), itemPath(at+".set", i), report)
	}
	for i, h := range c.GetAdd() {
		notForEnvoy(h.GetName(), itemPath(at+".add", i), report)
	}
}

// notForEnvoy refuses what one kind of proxy would obey, and the other send on.
func notForEnvoy(name, at string, report reporter) {
	if resource.SteersEnvoy(name) {
		report(at+".name", CodeInvalidValue, fmt.Sprintf("got %s, by which Envoy takes orders, want another header: for retries and timeouts there are retry and timeout", name))
	}
}

// checkHeaders looks at changes of headers, whose values may have some operators.
func checkHeaders(c *sluicev1.HeaderChanges, at string, operators []string, report reporter) {
	name := func(name, at string) {
		switch {
		case name == "":
		case !headerName.MatchString(name):
			report(at, CodeInvalidValue, fmt.Sprintf("got %q, want a header's name in lower case", shorten(name)))
		case resource.FramesMessage(name):
			report(at, CodeInvalidValue, fmt.Sprintf("got %s, which is about the message or its connection and cannot be changed: for the host there is rewrite", name))
		}
	}
	for i, n := range c.GetRemove() {
		if n == "" {
			report(itemPath(at+".remove", i), CodeInvalidValue, "got nothing, want a header's name")
		}
		name(n, itemPath(at+".remove", i))
	}
	for key, list := range map[string][]*sluicev1.HeaderValue{"set": c.GetSet(), "add": c.GetAdd()} {
		seen := map[string]bool{}
		for i, h := range list {
			here := itemPath(at+"."+key, i)
			name(h.GetName(), here+".name")
			if key == "set" && seen[h.GetName()] {
				report(here+".name", CodeInvalidValue, fmt.Sprintf("got %s twice, want it once: set leaves one value", h.GetName()))
			}
			seen[h.GetName()] = true
			switch value := h.GetValue(); {
			case value == "" || !headerValue.MatchString(value):
				report(here+".value", CodeInvalidValue, fmt.Sprintf("got %q, want printable ASCII without white space at its ends", shorten(value)))
			default:
				if _, err := operator.Parse(value, operators); err != nil {
					report(here+".value", CodeInvalidValue, err.Error())
				}
			}
		}
	}
}
