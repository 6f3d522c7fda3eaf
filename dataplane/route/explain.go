package route

import (
	"fmt"

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
func (t *Table) Explain(req *message.Request) Explanation {
	host := t.Host(req.Authority)
	if host == nil {
		return Explanation{}
	}
	out := Explanation{Host: host.Name}
	path := withoutQuery(req.Path)
	for _, r := range host.Routes {
		reason := ""
		if !matchPath(&r.Match, path) {
			reason = fmt.Sprintf("path: got %s, want %s", path, describePath(&r.Match))
		} else if i := matchHeaders(r.Match.Headers, req); i >= 0 {
			reason = describeHeader(&r.Match.Headers[i], req)
		}
		out.Steps = append(out.Steps, Step{Route: r, Reason: reason})
		if reason == "" {
			out.Route = r
			return out
		}
	}
	return out
}

func describePath(m *config.Match) string {
	switch m.PathKind {
	case config.PathExact:
		return "exactly " + m.Path
	case config.PathSeparatedPrefix:
		return m.Path + " or below it"
	default:
		return "one that begins with " + m.Path
	}
}

func describeHeader(m *config.HeaderMatch, req *message.Request) string {
	name := "header " + m.Name
	if m.Name == ":method" {
		name = "method"
	}
	got, ok := headerValue(req, m.Name)
	if !ok {
		return fmt.Sprintf("%s: got none, want %q", name, m.Exact)
	}
	return fmt.Sprintf("%s: got %q, want %q", name, got, m.Exact)
}
