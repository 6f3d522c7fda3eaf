package regex

import (
	"regexp/syntax"
	"strings"
	"testing"
)

func TestCompile(t *testing.T) {
	tests := map[string]struct{ yes, no []string }{
		"/a/[0-9]+":       {[]string{"/a/1", "/a/12"}, []string{"/a/", "/a/1/", "x/a/1", "/a/1\n"}},
		"a|b":             {[]string{"a", "b"}, []string{"ab", "xa", "bx"}},
		"(?i)abc":         {[]string{"abc", "ABC"}, []string{"abcd"}},
		"^/a$":            {[]string{"/a"}, []string{"/a/"}},
		"b.":              {[]string{"bx", "b\u00ff"}, []string{"b", "b\u00c3\u00a9"}},
		`(?P<id>\d{2})\b`: {[]string{"12"}, []string{"123"}},
		`\Q.\E`:           {[]string{"."}, []string{"x"}},
		`[^/]+`:           {[]string{"\u00e9"}, []string{"/"}},
		`(?i)[a-z]+`:      {[]string{"aZk"}, []string{"1"}},
	}
	for pattern, test := range tests {
		re, err := Compile(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, text := range test.yes {
			if !re.MatchString(text) {
				t.Errorf("%s does not match %q", pattern, text)
			}
		}
		for _, text := range test.no {
			if re.MatchString(text) {
				t.Errorf("%s matches %q", pattern, text)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                        "want a regular expression",
		"a)(b":                    "unexpected )",
		"(a":                      "missing closing )",
		`\C`:                      "invalid escape",
		`(?=a)`:                   "invalid or unsupported Perl syntax",
		`(a)\1`:                   "invalid escape",
		"a{1001}":                 "invalid repeat count",
		"é":                       "printable ASCII",
		"a\x00":                   "printable ASCII",
		`\xe9`:                    "above 127",
		`\pL`:                     "above 127",
		`[\x{c0}-\x{ff}]`:         "above 127",
		strings.Repeat("a", 200):  "of size 204, want at most 100",
		"[a-z0-9-]{1,63}":         "want at most 100",
		strings.Repeat("a", 5000): "5000 bytes",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", pattern, err, want)
		}
	}
}

// Each figure is what Envoy 1.40 was seen to say; ours may be larger.
func TestSize(t *testing.T) {
	for pattern, envoy := range map[string]int{
		`/a`:                                 6,
		`.`:                                  6,
		`.*`:                                 6,
		`(?s).*`:                             6,
		`[^/]+`:                              7,
		`/api/v[0-9]+/users/[^/]+/orders/.*`: 32,
		`(?i)/abc`:                           8,
		`(?i)[a-z]+`:                         6,
		`[a-z0-9-]{1,20}`:                    83,
		`/(a|b|c)/x`:                         10,
		`/(abc|de|fgh)/x`:                    17,
		`(?:abc|abd|xyz)+`:                   11,
		`\d+`:                                6,
		`\w+@\w+`:                            13,
		`x{50}`:                              54,
		`(?:ab){10}`:                         24,
		`a*`:                                 5,
		`a?`:                                 6,
		`(a?b?c?)*`:                          16,
		`/a.*/b.*/c.*/d.*`:                   20,
		`[a-c]|[x-z]|q`:                      7,
		`\bfoo\b`:                            9,
		`^/a$`:                               4,
		`(a|)`:                               8,
		`(?:a*)*`:                            5,
		`(?:a|b*)+c`:                         10,
		`[[:alnum:]]{3,9}`:                   28,
		`(((a)))`:                            11,
		`/(?:en|de|fr|it)(?:/.*)?`:           18,
		`\W\D\S`:                             15,
		`(?i)k+s`:                            7,
		`(a+|b+)*(c|d)?`:                     18,
		`(x*y*|z)*`:                          16,
		`((a|b)|(c|d)){2}`:                   20,
		`(?:(?:a?){3}b){3}`:                  25,
		`[^a-z0-9_.~-]+`:                     11,
	} {
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		re = re.Simplify()
		prog, err := syntax.Compile(re)
		if err != nil {
			t.Fatal(err)
		}
		if got := size(re, prog); got < envoy || got > envoy+envoy/3+8 {
			t.Errorf("%s: got %d, want Envoy's %d or a little more", pattern, got, envoy)
		}
	}
}

func TestPrefix(t *testing.T) {
	for pattern, want := range map[string]string{
		"/api/v[0-9]+/x": "/api/v",
		"^/api/.*$":      "/api/",
		"(/api)/x":       "/api",
		"(?i)/api":       "",
		"/a|/b":          "/",
		"/ab?":           "/a",
		"/ab*/c":         "/a",
		".*":             "",
		"/a":             "/a",
		"(":              "",
		"(/a/b|/a/c)/d":  "/a/",
	} {
		if got := Prefix(pattern); got != want {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}
