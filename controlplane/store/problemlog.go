package store

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// ProblemLog logs each problem once when it comes and once when it goes. One goroutine may use it.
type ProblemLog struct {
	Log *slog.Logger // required

	told map[string]Problem
}

// Tell takes all problems that there are. Where one stands may change in between.
func (l *ProblemLog) Tell(problems []Problem) {
	now := map[string]Problem{}
	for _, p := range problems {
		now[fmt.Sprint(p.Code, p.Ref, p.Field, p.Message, p.Serving)] = p
	}
	for _, k := range inOrder(now) {
		if _, known := l.told[k]; !known {
			level := slog.LevelError
			if now[k].Severity == definition.SeverityWarning {
				level = slog.LevelWarn
			}
			l.line(level, "problem", now[k])
		}
	}
	for _, k := range inOrder(l.told) {
		if _, still := now[k]; !still {
			l.line(slog.LevelInfo, "problem gone", l.told[k])
		}
	}
	l.told = now
}

func (l *ProblemLog) line(level slog.Level, text string, p Problem) {
	args := []any{"at", p.Position.String(), "document", p.Ref.String(), "code", p.Code, "field", p.Field, "problem", p.Message}
	if p.Serving != "" {
		args = append(args, "serving", p.Serving)
	}
	l.Log.Log(context.Background(), level, text, args...)
}

func inOrder(problems map[string]Problem) []string {
	return slices.SortedFunc(maps.Keys(problems), func(x, y string) int {
		a, b := problems[x], problems[y]
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(x, y))
	})
}
