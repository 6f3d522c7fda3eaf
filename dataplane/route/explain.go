package route

import (
	"fmt"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Explanation is why a request goes where it goes.
type Explanation struct {
	// Host is the virtual host's name; empty if none fits.
	Host string
	// Steps are the routes that were asked, in order; the last one matched if Route is set.
	Steps []Step
	// Route is the match; nil if there is none.
	Route *config.Route
}

// Step is one route that was asked.
type Step struct {
	Route *config.Route
	// Reason is why it did not match; empty if it did.
	Reason string
}

// Explain is Match, with its reasons.
func (t *Table) Explain(req *message.Request, given Given) Explanation {
	host := t.Host(req.Authority)
	if host == nil {
		return Explanation{}
	}
	out := Explanation{Host: host.Name}
	path := withoutQuery(req.Path)
	for _, r := range host.Routes {
		reason := whyNot(&r.Match, req, path, &given)
		out.Steps = append(out.Steps, Step{Route: r, Reason: reason})
		if reason == "" {
			out.Route = r
			return out
		}
	}
	return out
}

// whyNot is why a match does not hold; empty if it does.
func whyNot(m *config.Match, req *message.Request, path string, given *Given) string {
	if !matchPath(m, path) {
		return fmt.Sprintf("path: got %s, want %s", path, describePath(m))
	}
	if i := matchHeaders(m.Headers, req); i >= 0 {
		return describeHeader(&m.Headers[i], req)
	}
	if i := matchQuery(m.Query, req.Path); i >= 0 {
		got, ok := QueryValue(req.Path, m.Query[i].Name)
		return fmt.Sprintf("query parameter %s: got %s, want %s", m.Query[i].Name, describeGot(got, ok), describeText(&m.Query[i].Text))
	}
	if m.GRPC && !req.GRPC() {
		got, ok := req.Header.Joined("content-type")
		return fmt.Sprintf("header content-type: got %s, want application/grpc, for gRPC", describeGot(got, ok))
	}
	if len(m.Sources) > 0 && !from(m.Sources, given.Source) {
		return fmt.Sprintf("source: got %s, want one in %s", given.Source, strings.Trim(fmt.Sprint(m.Sources), "[]"))
	}
	if f := m.Fraction; f != nil && !drawn(f, given) {
		return fmt.Sprintf("fraction: it takes %g%% of such requests, and not this one", float64(f.Numerator)*100/float64(f.Denominator))
	}
	return ""
}

func describePath(m *config.Match) string {
	switch m.PathKind {
	case config.PathExact:
		return "exactly " + m.Path
	case config.PathSeparatedPrefix:
		return m.Path + " or below it"
	case config.PathRegex:
		return "all of it to match " + pattern(m.PathRegex.String())
	default:
		return "one that begins with " + m.Path
	}
}

// pattern is a regular expression as it was written: decode wraps it, so that it matches whole texts.
func pattern(wrapped string) string {
	return strings.TrimSuffix(strings.TrimPrefix(wrapped, `\A(?:`), `)\z`)
}

func describeHeader(m *config.HeaderMatch, req *message.Request) string {
	name := "header " + m.Name
	if m.Name == ":method" {
		name = "method"
	}
	got, ok := headerValue(req, m.Name)
	want := describeText(&m.Text)
	if m.Invert {
		want = "one, and not " + want
	}
	return fmt.Sprintf("%s: got %s, want %s", name, describeGot(got, ok), want)
}

func describeGot(got string, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%q", got)
}

func describeText(t *config.Text) string {
	switch t.Kind {
	case config.TextPrefix:
		return fmt.Sprintf("one that begins with %q", t.Value)
	case config.TextSuffix:
		return fmt.Sprintf("one that ends with %q", t.Value)
	case config.TextContains:
		return fmt.Sprintf("one with %q in it", t.Value)
	case config.TextRegex:
		return "all of it to match " + t.Value
	case config.TextPresent:
		return "some"
	case config.TextAbsent:
		return "none"
	}
	return fmt.Sprintf("%q", t.Value)
}
