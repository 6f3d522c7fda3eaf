package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// TestProblemLog: a problem is a line when it comes and a line when it goes, and none while it stays, wherever it moves.
func TestProblemLog(t *testing.T) {
	var out bytes.Buffer
	l := ProblemLog{Log: slog.New(slog.NewTextHandler(&out, nil))}
	problem := func(message string, line int, severity definition.Severity) Problem {
		p := Problem{Serving: ServingLastGood}
		p.Code, p.Message, p.Severity, p.Ref = "SL0101", message, severity, definition.Ref{Kind: "Route", Name: "shop"}
		p.File, p.Line = "a.yaml", line
		return p
	}
	for _, step := range []struct {
		problems []Problem
		want     []string
	}{
		{[]Problem{problem("late", 9, definition.SeverityWarning), problem("early", 2, definition.SeverityError)},
			[]string{"level=ERROR msg=problem at=a.yaml:2", "level=WARN msg=problem at=a.yaml:9"}},
		{[]Problem{problem("early", 3, definition.SeverityError), problem("late", 9, definition.SeverityWarning)}, nil},
		{[]Problem{problem("late", 9, definition.SeverityWarning)}, []string{`level=INFO msg="problem gone" at=a.yaml:3`}},
		{nil, []string{`level=INFO msg="problem gone" at=a.yaml:9`}},
	} {
		out.Reset()
		l.Tell(step.problems)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if out.Len() == 0 {
			lines = nil
		}
		if len(lines) != len(step.want) {
			t.Fatalf("got %q, want %q", lines, step.want)
		}
		for i, want := range step.want {
			if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `serving="last good version"`) {
				t.Errorf("got %q, want %q", lines[i], want)
			}
		}
	}
}
