package regex

import (
	"fmt"
	"regexp"
	"strings"
)

// Replacer replaces all that a pattern matches in a text, as RE2's GlobalReplace does.
type Replacer struct {
	re *regexp.Regexp
	// with is the substitution in Go's words.
	with string
}

// Replace is text, given as Compile wants it, with the matches replaced.
func (r *Replacer) Replace(text string) string { return r.re.ReplaceAllString(text, r.with) }

// Substitution compiles a pattern that may match any part of a text, and what stands for a match: \0 to \9 are the
// match and its groups, \\ is one \.
func Substitution(pattern, substitution string) (*Replacer, error) {
	if _, err := parse(pattern); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	var with strings.Builder
	for i := 0; i < len(substitution); i++ {
		switch c := substitution[i]; {
		case c == '$':
			with.WriteString("$$")
		case c < ' ' || c >= 0x7f:
			return nil, fmt.Errorf("got the substitution %q, want printable ASCII", substitution)
		case c != '\\':
			with.WriteByte(c)
		default:
			if i++; i == len(substitution) {
				return nil, fmt.Errorf("got the substitution %q, want a digit or \\ after \\", substitution)
			}
			switch d := substitution[i]; {
			case d == '\\':
				with.WriteByte(d)
			case d < '0' || d > '9':
				return nil, fmt.Errorf("got the substitution %q, want a digit or \\ after \\", substitution)
			case int(d-'0') > re.NumSubexp():
				return nil, fmt.Errorf("got the substitution %q, want groups of the pattern, which has %d", substitution, re.NumSubexp())
			default:
				fmt.Fprintf(&with, "${%c}", d)
			}
		}
	}
	return &Replacer{re: re, with: with.String()}, nil
}
