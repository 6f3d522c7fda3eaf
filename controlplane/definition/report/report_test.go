package report

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

func TestGoldenFormats(t *testing.T) {
	shop := definition.Ref{Kind: "Route", Name: "shop"}
	s := &Summary{Files: 3, Documents: 7, Tests: 2, Problems: []definition.Problem{
		{Position: definition.Position{File: "conf/a b,c.yaml", Line: 4, Column: 7}, Code: definition.CodeUnknownField, Severity: definition.SeverityError,
			Ref: shop, Field: "rules[0].backend", Message: "got an unknown field, want <one> of\n100% backends"},
		{Position: definition.Position{File: "conf/shop.yaml", Line: 9, Column: 3}, Code: definition.CodeUnreachableRule, Severity: definition.SeverityWarning,
			Ref: shop, Field: "rules[1]", Message: "can never match"},
		{Position: definition.Position{File: "conf/gone.yaml"}, Code: definition.CodeMissingFile, Severity: definition.SeverityError, Message: "cannot be read"},
	}}
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, format, s); err != nil {
				t.Fatal(err)
			}
			file := "testdata/" + format
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
	if err := Write(&bytes.Buffer{}, "xml", s); err == nil || !strings.Contains(err.Error(), "want one of text, github, sarif, json") || KnownFormat("xml") {
		t.Errorf("got %v", err)
	}
}

func TestSummary(t *testing.T) {
	warning := definition.Problem{Severity: definition.SeverityWarning}
	for want, s := range map[string]*Summary{
		"1 document in 1 file: all fine":              {Files: 1, Documents: 1},
		"2 documents in 1 file, 1 test: 1 warning":    {Files: 1, Documents: 2, Tests: 1, Problems: []definition.Problem{warning}},
		"0 documents in 2 files: 1 error, 2 warnings": {Files: 2, Problems: []definition.Problem{warning, warning, {Severity: definition.SeverityError}}},
	} {
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
