// Package report prints problems with definitions, for people and for the tools that show them where code is reviewed.
//
// In: problems, and what was looked at. Out: text, GitHub workflow commands, SARIF or JSON. It must not know where the
// problems come from.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Summary is what was looked at, and what was found.
type Summary struct {
	Files, Documents, Tests int
	Problems                []definition.Problem
}

// Errors counts the problems that are errors.
func (s *Summary) Errors() int {
	n := 0
	for _, p := range s.Problems {
		if p.Severity == definition.SeverityError {
			n++
		}
	}
	return n
}

// String is the summary line: 7 documents in 3 files, 2 tests: 1 error, 2 warnings.
func (s *Summary) String() string {
	looked := count(s.Documents, "document") + " in " + count(s.Files, "file")
	if s.Tests > 0 {
		looked += ", " + count(s.Tests, "test")
	}
	found := []string{}
	errors := s.Errors()
	if errors > 0 {
		found = append(found, count(errors, "error"))
	}
	if warnings := len(s.Problems) - errors; warnings > 0 {
		found = append(found, count(warnings, "warning"))
	}
	if len(found) == 0 {
		return looked + ": all fine"
	}
	return looked + ": " + strings.Join(found, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Formats are the names of the formats, the default first.
var Formats = []string{"text", "github", "sarif", "json"}

// Write prints a summary in a format.
func Write(w io.Writer, format string, s *Summary) error {
	switch format {
	case "text":
		return writeText(w, s)
	case "github":
		return writeGitHub(w, s)
	case "sarif":
		return encode(w, sarifOf(s))
	case "json":
		return encode(w, jsonOf(s))
	}
	return fmt.Errorf("report: got the format %q, want one of %s", format, strings.Join(Formats, ", "))
}

// KnownFormat tells whether Write takes a format.
func KnownFormat(format string) bool { return slices.Contains(Formats, format) }

func encode(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// writeText is a line a problem, and the summary. Lines have the form that editors jump to.
func writeText(w io.Writer, s *Summary) error {
	var b strings.Builder
	for _, p := range s.Problems {
		severity := ""
		if p.Severity == definition.SeverityWarning {
			severity = "warning: "
		}
		fmt.Fprintf(&b, "%s: %s%s [%s]\n", p.Position, severity, p.Text(), p.Code)
	}
	b.WriteString(s.String() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGitHub is a workflow command a problem, which GitHub shows at the line, and the summary.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
func writeGitHub(w io.Writer, s *Summary) error {
	var b strings.Builder
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "::%s file=%s", p.Severity, escapeProperty(filepath.ToSlash(p.File)))
		if p.Line > 0 {
			fmt.Fprintf(&b, ",line=%d", p.Line)
		}
		if p.Column > 0 {
			fmt.Fprintf(&b, ",col=%d", p.Column)
		}
		fmt.Fprintf(&b, ",title=%s::%s\n", escapeProperty(p.Code), escapeData(p.Text()))
	}
	b.WriteString(s.String() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func escapeData(text string) string     { return dataEscapes.Replace(text) }
func escapeProperty(text string) string { return propertyEscapes.Replace(text) }

// problemJSON is a problem as `-o json` has it.
type problemJSON struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Name     string `json:"name,omitempty"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message"`
}

type summaryJSON struct {
	Files     int           `json:"files"`
	Documents int           `json:"documents"`
	Tests     int           `json:"tests"`
	Errors    int           `json:"errors"`
	Warnings  int           `json:"warnings"`
	Problems  []problemJSON `json:"problems"`
}

func jsonOf(s *Summary) summaryJSON {
	out := summaryJSON{
		Files: s.Files, Documents: s.Documents, Tests: s.Tests,
		Errors: s.Errors(), Warnings: len(s.Problems) - s.Errors(), Problems: []problemJSON{},
	}
	for _, p := range s.Problems {
		out.Problems = append(out.Problems, problemJSON{
			Code: p.Code, Severity: string(p.Severity), File: p.File, Line: p.Line, Column: p.Column,
			Kind: p.Ref.Kind, Name: p.Ref.Name, Field: p.Field, Message: p.Message,
		})
	}
	return out
}
