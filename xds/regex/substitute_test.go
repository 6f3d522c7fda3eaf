package regex

import (
	"strings"
	"testing"
)

func TestSubstitution(t *testing.T) {
	for _, test := range []struct{ pattern, substitution, text, want string }{
		{"b", "x", "abcb", "axcx"},
		{"^/users/([0-9]+)/(.*)$", `/\2/of/\1`, "/users/42/cart", "/cart/of/42"},
		{"^/users/([0-9]+)/(.*)$", `/\2/of/\1`, "/users/ann/cart", "/users/ann/cart"},
		{"b+", `<\0>`, "abba", "a<bb>a"},
		{"b", `\\`, "abc", `a\c`},
		{"b", "$0${1}$x", "abc", "a$0${1}$xc"},
		{"(b)|c", `<\1>`, "abc", "a<b><>"},
		{"o*", ".", "foob", ".f.b."}, // as RE2: an empty match behind another counts for nothing
		{"b", "", "abc", "ac"},
	} {
		re, with, err := Substitution(test.pattern, test.substitution)
		if err != nil {
			t.Errorf("%s, %s: %v", test.pattern, test.substitution, err)
			continue
		}
		if got := re.ReplaceAllString(test.text, with); got != test.want {
			t.Errorf("%s, %s: %s becomes %s, want %s", test.pattern, test.substitution, test.text, got, test.want)
		}
	}
	for _, test := range []struct{ pattern, substitution, want string }{
		{"(", "x", "want a regular expression"},
		{"", "x", "want a regular expression"},
		{"(a)", `\2`, "want groups of the pattern, which has 1"},
		{"a", `\`, `want a digit or \ after \`},
		{"a", `\n`, `want a digit or \ after \`},
		{"a", "\n", "want printable ASCII"},
		{"a", "\u00e9", "want printable ASCII"},
	} {
		if _, _, err := Substitution(test.pattern, test.substitution); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: got %v, want %s", test.pattern, test.substitution, err, test.want)
		}
	}
}
