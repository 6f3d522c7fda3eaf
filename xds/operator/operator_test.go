package operator

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][]Part{
		"":                                     nil,
		"plain":                                {{Literal: "plain"}},
		"100%%":                                {{Literal: "100"}, {Literal: "%"}},
		"%%%%":                                 {{Literal: "%"}, {Literal: "%"}},
		"%RESP(X-A)%":                          {{Name: "RESP", Arg: "x-a"}},
		"a%PROTOCOL%b":                         {{Literal: "a"}, {Name: "PROTOCOL"}, {Literal: "b"}},
		"%REQ(X-A?:Path):10%%ROUTE_NAME%":      {{Name: "REQ", Arg: "x-a", Alt: ":path", Max: 10}, {Name: "ROUTE_NAME"}},
		"%START_TIME%":                         {{Name: "START_TIME", Arg: "2006-01-02T15:04:05.000Z07:00"}},
		"%START_TIME(%Y/%m/%d %H:%M:%S.%3f)%.": {{Name: "START_TIME", Arg: "2006/01/02 15:04:05.000"}, {Literal: "."}},
		"%START_TIME(at %FT%TZ)%":              {{Name: "START_TIME", Arg: "at 2006-01-02T15:04:05Z"}},
		"%START_TIME(%e %b %y, %I %p %a %z)%":  {{Name: "START_TIME", Arg: "_2 Jan 06, 03 PM Mon -0700"}},
		"%REQ(x):007%":                         {{Name: "REQ", Arg: "x", Max: 7}},
	} {
		got, err := Parse(text, OfResponse)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: got %v, want (-), got (+):\n%s", text, err, diff)
		}
	}
}

func TestParseBad(t *testing.T) {
	for text, want := range map[string]string{
		"50%":              `got "%" without its closing %, want %% for a %`,
		"%PROTOCOL":        "without its closing %",
		"%REQ(x)":          "without its closing %",
		"%REQ(x%":          "without its closing %",
		"%NOPE%":           "got the operator %NOPE%, want %% for a %, or one of DOWNSTREAM_DIRECT",
		"% of %":           "got the operator % of %",
		"%RESPONSE_CODE%":  "got the operator %RESPONSE_CODE%",
		"%protocol%":       "got the operator %protocol%",
		"%REQ%":            "want a header's name in the parentheses",
		"%REQ()%":          "want a header's name in the parentheses",
		"%REQ(a b)%":       "want a header's name in the parentheses",
		"%REQ(a?b?c)%":     "want a header's name in the parentheses",
		"%REQ(?b)%":        "want a header's name in the parentheses",
		"%REQ(x):0%":       `got the length "0"`,
		"%REQ(x):-1%":      `got the length "-1"`,
		"%REQ(x):%":        `got the length ""`,
		"%REQ(x):+5%":      `got the length "+5" in %REQ(x):+5%`,
		"%REQ(x)y%":        `got "y" after %REQ(x)`,
		"%PROTOCOL:3%":     `got the length "3" in %PROTOCOL:3%, want none`,
		"%PROTOCOL(x)%":    "got %PROTOCOL(x)%, want %PROTOCOL%",
		"%START_TIME(%Q)%": "%Q is not supported",
		"%START_TIME(%)%":  "is not supported",
		// Go would take them for parts of the time: Envoy writes them as they are.
		"%START_TIME(Monday)%":  "text beside the specifiers",
		"%START_TIME(v1 %Y)%":   `at 1987-11-23 17:48:39 it would be "v11 1987", and not "v1 1987"`,
		"%START_TIME(0%d)%":     "text beside the specifiers",
		"%START_TIME(%S.%3f0)%": "text beside the specifiers",
		"%START_TIME(%H pm)%":   "text beside the specifiers",
		"%START_TIME(%S%3f)%":   "a fraction of seconds without a '.'",
		"%DYNAMIC_METADATA(a)%": "got the operator %DYNAMIC_METADATA%",
	} {
		if _, err := Parse(text, OfResponse); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestListsAreSorted(t *testing.T) {
	for _, list := range [][]string{OfRequest, OfResponse} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("got %v, want each once, sorted", list)
		}
	}
}

// FuzzParse: whatever is taken has operators of the list alone, and literals without a % that was not written twice.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "%%", "%REQ(a?b):3%x", "%START_TIME(%Y%%)%", "%PROTOCOL%%", "%(%)%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts, err := Parse(s, OfRequest)
		if err != nil {
			return
		}
		literal := 0
		for _, p := range parts {
			if p.Name != "" && (p.Literal != "" || !slices.Contains(OfRequest, p.Name)) || p.Max < 0 {
				t.Errorf("%q: got %+v", s, p)
			}
			literal += len(p.Literal)
		}
		if literal > len(s) {
			t.Errorf("%q: got %d literal bytes", s, literal)
		}
	})
}
