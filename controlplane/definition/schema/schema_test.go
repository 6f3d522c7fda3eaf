package schema

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

func TestGoldenSchema(t *testing.T) {
	got, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/schema.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestReferencesAndPatterns(t *testing.T) {
	text, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && defs[strings.TrimPrefix(ref, "#/$defs/")] == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			if pattern, ok := v["pattern"].(string); ok {
				if _, err := regexp.Compile(pattern); err != nil {
					t.Error(err)
				}
			}
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(schema)

	pattern := func(kind, field string) *regexp.Regexp {
		property := defs[kind].(map[string]any)["properties"].(map[string]any)[field].(map[string]any)
		if items, ok := property["items"].(map[string]any); ok {
			property = items
		}
		return regexp.MustCompile(property["pattern"].(string))
	}
	for _, c := range []struct {
		kind, field string
		good, bad   []string
	}{
		{"Route", "name", []string{"a", "shop-2"}, []string{"", "Shop", "a_b"}},
		{"Route", "hosts", []string{"*", "*.a.b", "a.b", "a_b.c"}, []string{"", "*a", "A", "a:80", "a..b"}},
		{"Route", "timeout", []string{"5s", "1.5h", "1h30m"}, []string{"", "5", "5 s", "1xs"}},
		{"Route", "gateways", []string{"web", "web/https"}, []string{"", "web/", "/x", "a/b/c"}},
		{"Match", "methods", []string{"GET", "M-SEARCH"}, []string{"get", ""}},
		{"HeaderMatch", "name", []string{"x-beta", "a'b"}, []string{"X-Beta", "", "a b"}},
		{"PathMatch", "prefix", []string{"/", "/a/b"}, []string{"", "a", "/a?b"}},
	} {
		p := pattern(c.kind, c.field)
		for _, text := range c.good {
			if !p.MatchString(text) {
				t.Errorf("%s.%s: %q does not match %s", c.kind, c.field, text, p)
			}
		}
		for _, text := range c.bad {
			if p.MatchString(text) {
				t.Errorf("%s.%s: %q matches %s", c.kind, c.field, text, p)
			}
		}
	}
}
