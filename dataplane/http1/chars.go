package http1

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// Classes of bytes.
const (
	// classToken is tchar (RFC 9110, 5.6.2).
	classToken = 1 << iota
	// classTarget is what may stand in a request-target: visible ASCII but '#', since a fragment is never sent (RFC 9112,
	// 3.2). More than RFC 3986 allows: what must be escaped there is escaped before it is forwarded.
	classTarget
	// classHost is reg-name and IP-literal, their brackets and the port aside (RFC 3986, 3.2.2).
	classHost
	// classDigit and classHex are numbers.
	classDigit
	classHex
)

var classes = func() (t [256]uint8) {
	for c := range t {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		digit := b >= '0' && b <= '9'
		if letter || digit || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0 {
			t[c] |= classToken
		}
		if b > ' ' && b < 0x7f && b != '#' {
			t[c] |= classTarget
		}
		if letter || digit || strings.IndexByte("-._~%!$&'()*+,;=", b) >= 0 {
			t[c] |= classHost
		}
		if digit {
			t[c] |= classDigit
		}
		if digit || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' {
			t[c] |= classHex
		}
	}
	return t
}()

// all tells whether every byte is of a class.
func all[T string | []byte](s T, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// validValue tells whether a field value holds no control byte but tab (RFC 9110, 5.5). Eight bytes at a time: a value
// is the longest part of a head.
func validValue(s []byte) bool {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		// Bits are set where a byte is below 0x20, or is 0x7f.
		del := x ^ (0x7f * ones)
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !validBytes(s[i:i+8]) {
			return false
		}
	}
	return validBytes(s[i:])
}

func validBytes(s []byte) bool {
	for _, c := range s {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// ValidName tells whether a string may be a field's name or a method: a token (RFC 9110, 5.1 and 9.1).
func ValidName(s string) bool { return s != "" && all(s, classToken) }

// ValidValue tells whether a string may be a field's value: no CR, LF, NUL or other control byte but tab (RFC 9110, 5.5).
func ValidValue(s string) bool { return validValue(unsafe.Slice(unsafe.StringData(s), len(s))) }

// view is a string over bytes that do not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// trim takes optional white space off both ends (RFC 9110, 5.6.3).
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// EqualToken compares tokens, ASCII case aside. Not strings.EqualFold: that takes a Kelvin sign for a k, so that
// "chun\u212aed" would be chunked to us and a coding that nobody knows to the next.
func EqualToken(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// EachToken calls f for each element of a comma-separated list, without white space around it, until f returns false.
// Empty elements are left out (RFC 9110, 5.6.1.2).
func EachToken(list string, f func(token string) bool) {
	for list != "" {
		token, rest := list, ""
		if i := strings.IndexByte(list, ','); i >= 0 {
			token, rest = list[:i], list[i+1:]
		}
		if token = strings.Trim(token, " \t"); token != "" && !f(token) {
			return
		}
		list = rest
	}
}
