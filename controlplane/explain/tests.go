package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// RunTests runs the Test documents among docs, and returns a problem for each expectation that does not hold. n is
// the number of tests.
func RunTests(out *compile.Output, docs []*definition.Document, m Matcher) (n int, problems []definition.Problem) {
	for _, d := range docs {
		test, ok := d.Message.(*sluicev1.Test)
		if !ok {
			continue
		}
		n++
		report := func(field, format string, args ...any) {
			problems = append(problems, definition.Problem{
				Position: d.At(field), Code: definition.CodeTestFailed, Severity: definition.SeverityError,
				Ref: d.Ref, Field: field, Message: fmt.Sprintf(format, args...),
			})
		}
		req := Request{Method: test.GetRequest().GetMethod(), URL: test.GetRequest().GetUrl()}
		if text := test.GetRequest().GetSource(); text != "" {
			// A checked message has an address.
			req.Source, _ = netip.ParseAddr(text)
		}
		for name, value := range test.GetRequest().GetHeaders() {
			req.Header = append(req.Header, Header{name, value})
		}
		slices.SortFunc(req.Header, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
		r, err := Explain(out, m, req)
		if err != nil {
			report("request.url", "%v", err)
			continue
		}
		check(test.GetExpect(), r, report)
	}
	return n, problems
}

func check(want *sluicev1.TestExpectation, r *Result, report func(field, format string, args ...any)) {
	route, rule, _ := strings.Cut(strings.TrimPrefix(r.Rule, "Route/"), "#")
	if !strings.HasPrefix(r.Rule, "Route/") {
		route, rule = "", ""
	}
	if want.GetRoute() != "" && want.GetRoute() != route {
		report("expect.route", "got %s, want Route/%s", outcome(r), want.GetRoute())
	}
	if want.GetRule() != "" && want.GetRule() != rule {
		report("expect.rule", "got %s, want rule %s", outcome(r), want.GetRule())
	}
	if want.GetService() != "" && !slices.ContainsFunc(r.Services, func(s Service) bool {
		return s.Name == want.GetService() && s.Weight > 0
	}) {
		report("expect.service", "got %s, want a share for Service/%s", outcome(r), want.GetService())
	}
	status, location := 0, ""
	if r.Answer != nil {
		status = r.Answer.Status
	}
	if r.Redirect != nil {
		status, location = r.Redirect.Status, r.Redirect.Location
	}
	if want.GetStatus() != 0 && int(want.GetStatus()) != status {
		report("expect.status", "got %s, want the proxy's own answer %d", outcome(r), want.GetStatus())
	}
	if want.GetLocation() != "" && want.GetLocation() != location {
		report("expect.location", "got %s, want a redirect to %s", outcome(r), want.GetLocation())
	}
}

// outcome is a result in a few words.
func outcome(r *Result) string {
	var parts []string
	if r.Rule != "" {
		rule := r.Rule
		if r.RuleAt != "" {
			rule += " (" + r.RuleAt + ")"
		}
		parts = append(parts, rule)
	}
	var services []string
	for _, s := range r.Services {
		services = append(services, fmt.Sprintf("Service/%s %s%%", s.Name, percent(s.Percent)))
	}
	if len(services) > 0 {
		parts = append(parts, strings.Join(services, " and "))
	}
	if r.Redirect != nil {
		parts = append(parts, fmt.Sprintf("a redirect %d to %s", r.Redirect.Status, r.Redirect.Location))
	}
	if r.Answer != nil {
		parts = append(parts, strings.TrimPrefix(fmt.Sprintf("%d, %s", r.Answer.Status, r.Answer.Reason), "0, "))
	}
	return strings.Join(parts, ", ")
}
