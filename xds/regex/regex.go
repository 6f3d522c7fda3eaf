// Package regex reads regular expressions as Envoy does, in Go: both are RE2's syntax, so what is left is to refuse what
// the two would read differently, and what Envoy finds too large.
//
// In: a pattern. Out: a matcher of whole texts, or why there is none. It must not know what is matched.
package regex

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

const (
	// MaxSize is how many instructions a compiled pattern may have: Envoy's own limit, re2.max_program_size.error_level.
	MaxSize = 100
	// maxLength bounds the work of reading a pattern, in bytes.
	maxLength = 1024
)

// Compile makes a pattern that matches whole texts. Envoy compiles for Latin-1, a byte for a character, so the text
// must be given as UTF-8 of that: bytes above 127 as the two bytes of their character. A text of ASCII is both.
func Compile(pattern string) (*regexp.Regexp, error) {
	if _, err := parse(pattern); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// Check is Compile's error.
func Check(pattern string) error {
	_, err := parse(pattern)
	return err
}

// Prefix is what all texts begin with that a pattern matches; it may be empty, and is so for a pattern that is wrong.
func Prefix(pattern string) string {
	re, err := parse(pattern)
	if err != nil {
		return ""
	}
	return literal(re)
}

func parse(pattern string) (*syntax.Regexp, error) {
	if pattern == "" {
		return nil, fmt.Errorf("got nothing, want a regular expression")
	}
	if len(pattern) > maxLength {
		return nil, fmt.Errorf("got %d bytes, want a regular expression of at most %d", len(pattern), maxLength)
	}
	for i := range len(pattern) {
		if c := pattern[i]; c < ' ' || c >= 0x7f {
			return nil, fmt.Errorf("got %q, want a regular expression of printable ASCII: Envoy matches bytes, not characters", pattern)
		}
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("got %q, want a regular expression (RE2): %w", pattern, err)
	}
	if !agreed(re) {
		return nil, fmt.Errorf("got %q, want a regular expression of ASCII: what it says of characters above 127 is not the same on all proxies", pattern)
	}
	re = re.Simplify()
	prog, err := syntax.Compile(re)
	if err != nil {
		return nil, fmt.Errorf("got %q, want a regular expression (RE2): %w", pattern, err)
	}
	if n := size(re, prog); n > MaxSize {
		return nil, fmt.Errorf("got %q, a regular expression of size %d, want at most %d, which is Envoy's limit", pattern, n, MaxSize)
	}
	return re, nil
}

// agreed says whether a pattern means the same over Latin-1 and over Unicode: of the bytes 0x80 to 0xff each class has
// all or none. What is above these no text has, as Compile wants it.
func agreed(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r >= 0x80 {
				return false
			}
		}
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			low, high := max(re.Rune[i], 0x80), min(re.Rune[i+1], 0xff)
			if low <= high && (low != 0x80 || high != 0xff) {
				return false
			}
		}
	}
	for _, sub := range re.Sub {
		if !agreed(sub) {
			return false
		}
	}
	return true
}

// size is at least RE2's ProgramSize for Latin-1, and little more: RE2 has an instruction for each range of a class, and
// merges some of ours.
func size(re *syntax.Regexp, prog *syntax.Prog) int {
	n := 2 + 2*starsOfStars(re)
	for i := range prog.Inst {
		switch inst := &prog.Inst[i]; inst.Op {
		case syntax.InstRune:
			ranges := 0
			for j := 0; j < len(inst.Rune); j += 2 {
				if inst.Rune[j] <= 0xff {
					ranges++
				}
			}
			n += max(ranges, 1)
		case syntax.InstRuneAnyNotNL:
			n += 2
		default:
			n++
		}
	}
	return n
}

// starsOfStars counts repetitions of what may be empty, as far as one sees it: RE2 writes these with more.
func starsOfStars(re *syntax.Regexp) int {
	n := 0
	if re.Op == syntax.OpStar && re.Sub[0].Op != syntax.OpLiteral && re.Sub[0].Op != syntax.OpCharClass {
		n++
	}
	for _, sub := range re.Sub {
		n += starsOfStars(sub)
	}
	return n
}

// literal follows what must come first.
func literal(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return string(re.Rune)
		}
	case syntax.OpCapture:
		return literal(re.Sub[0])
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			if sub.Op == syntax.OpBeginText || sub.Op == syntax.OpEmptyMatch {
				continue
			}
			if sub.Op != syntax.OpLiteral || sub.Flags&syntax.FoldCase != 0 {
				if b.Len() == 0 {
					return literal(sub)
				}
				break
			}
			b.WriteString(string(sub.Rune))
		}
		return b.String()
	}
	return ""
}
