package definition

import (
	"fmt"
	"slices"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/xds/regex"
)

// checkRewrite looks at what a backend is to see: that must be a path, whatever the request's was.
func checkRewrite(rule *sluicev1.Rule, at string, report reporter) {
	r := rule.GetRewrite()
	checkNewPath(r.GetPath(), at+".path", report)
	checkNewPath(r.GetPathPrefix(), at+".pathPrefix", report)
	if r.GetPathPrefix() != "" && (byRegex(rule.GetMatch()) || slices.ContainsFunc(rule.GetMatches(), byRegex)) {
		report(at+".pathPrefix", CodeExclusive, "got pathPrefix and a match by regex, which has no prefix to replace, want pathRegex or path")
	}
	if p := r.GetPathRegex(); p.GetPattern() != "" {
		if err := regex.Check(p.GetPattern()); err != nil {
			report(at+".pathRegex.pattern", CodeInvalidValue, err.Error())
		} else if _, _, err := regex.Substitution(p.GetPattern(), p.GetSubstitution()); err != nil {
			report(at+".pathRegex.substitution", CodeInvalidValue, err.Error())
		}
		if i := strings.IndexAny(p.GetSubstitution(), " ?#"); i >= 0 {
			report(at+".pathRegex.substitution", CodePath, fmt.Sprintf("got %q, want no %q in it: it is part of a path", shorten(p.GetSubstitution()), p.GetSubstitution()[i]))
		}
	}
}

// checkRedirect looks at the path of a rule's redirect.
func checkRedirect(rule *sluicev1.Rule, at string, report reporter) {
	r := rule.GetRedirect()
	checkNewPath(r.GetPath(), at+".path", report)
	checkNewPath(r.GetPathPrefix(), at+".pathPrefix", report)
	if r.GetPathPrefix() != "" && (byRegex(rule.GetMatch()) || slices.ContainsFunc(rule.GetMatches(), byRegex)) {
		report(at+".pathPrefix", CodeExclusive, "got pathPrefix and a match by regex, which has no prefix to replace, want path")
	}
}

func byRegex(m *sluicev1.Match) bool { return m.GetPath().GetRegex() != "" }

// checkNewPath looks at a path that is put in place of another's.
func checkNewPath(path, at string, report reporter) {
	switch {
	case path == "":
	case path[0] != '/' || strings.Contains(path, "?") || len(path) > 4096:
		report(at, CodePath, fmt.Sprintf("got %q, want a path without a query that begins with /, of at most 4096 bytes", shorten(path)))
	default:
		checkPath(path, true, at, report)
	}
}
