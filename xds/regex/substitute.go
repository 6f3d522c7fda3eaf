package regex

import (
	"fmt"
	"regexp"
	"strings"
)

// Substitution compiles a pattern that may match any part of a text, given as Compile wants it, and what stands for each
// match, as RE2's GlobalReplace has it: \0 to \9 are the match and its groups, \\ is one \. with is the same in the words
// of ReplaceAllString.
func Substitution(pattern, substitution string) (re *regexp.Regexp, with string, err error) {
	if _, err := parse(pattern); err != nil {
		return nil, "", err
	}
	if re, err = regexp.Compile(pattern); err != nil {
		return nil, "", err
	}
	var b strings.Builder
	for i := 0; i < len(substitution); i++ {
		switch c := substitution[i]; {
		case c == '$':
			b.WriteString("$$")
		case c < ' ' || c >= 0x7f:
			return nil, "", fmt.Errorf("got the substitution %q, want printable ASCII", substitution)
		case c != '\\':
			b.WriteByte(c)
		default:
			if i++; i == len(substitution) {
				return nil, "", fmt.Errorf("got the substitution %q, want a digit or \\ after \\", substitution)
			}
			switch d := substitution[i]; {
			case d == '\\':
				b.WriteByte(d)
			case d < '0' || d > '9':
				return nil, "", fmt.Errorf("got the substitution %q, want a digit or \\ after \\", substitution)
			case int(d-'0') > re.NumSubexp():
				return nil, "", fmt.Errorf("got the substitution %q, want groups of the pattern, which has %d", substitution, re.NumSubexp())
			default:
				fmt.Fprintf(&b, "${%c}", d)
			}
		}
	}
	return re, b.String(), nil
}
