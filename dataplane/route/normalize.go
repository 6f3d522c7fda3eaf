package route

import "strings"

// How a byte of a path is treated. The table is what Envoy 1.40's normalize_path does to each byte, measured.
const (
	pass     = 0 // kept as it is
	escape   = 1 // written as %XX
	unescape = 2 // unreserved (RFC 3986 section 2.3): %XX of it is decoded
)

var pathBytes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", byte(c)) >= 0:
			t[c] = unescape
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>^`{|}#", byte(c)) >= 0:
			t[c] = escape
		}
	}
	return t
}()

// NormalizePath resolves a request path as RFC 3986 section 6.2.2 says and Envoy's normalize_path does it, so that
// a rule for /admin cannot be passed by /x/../admin, /%61dmin or \admin: dot segments are resolved (in any spelling),
// escaped unreserved bytes are decoded, backslashes become slashes, what must be escaped is. %2F stays %2F. The query
// is not touched. With mergeSlashes, runs of slashes become one. A path that does not begin with '/' or that
// holds %00 is refused with false.
func NormalizePath(path string, mergeSlashes bool) (string, bool) {
	p, query := path, ""
	if i := strings.IndexByte(path, '?'); i >= 0 {
		p, query = path[:i], path[i:]
	}
	if p == "" || p[0] != '/' {
		return "", false
	}
	if isNormal(p, mergeSlashes) {
		return path, true
	}
	out, ok := canonical(p)
	if !ok {
		return "", false
	}
	if mergeSlashes {
		out = merge(out)
	}
	return string(out) + query, true
}

// isNormal is the common case: nothing to do, and nothing to allocate.
func isNormal(p string, mergeSlashes bool) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '%' || c == '\\' || pathBytes[c] == escape:
			return false
		case c == '/' && i+1 < len(p) && (p[i+1] == '.' || (mergeSlashes && p[i+1] == '/')):
			return false
		}
	}
	return true
}

// canonical writes p's segments one after another. out always ends behind the '/' that the next segment follows, or
// within the last segment.
func canonical(p string) ([]byte, bool) {
	p = dropDotParameters(p)
	out := make([]byte, 1, len(p)+8)
	out[0] = '/'
	for i := 1; i < len(p); {
		// At the beginning of a segment.
		dots, n := leadingDots(p[i:])
		if end := i + n; dots > 0 && dots <= 2 && (end == len(p) || isSlash(p[end])) {
			if dots == 2 {
				out = parent(out)
			}
			i = end + 1
			continue
		}
		for i < len(p) && !isSlash(p[i]) {
			c := p[i]
			switch {
			case c == '%' && i+2 < len(p) && isHex(p[i+1]) && isHex(p[i+2]):
				b := unhex(p[i+1])<<4 | unhex(p[i+2])
				if b == 0 {
					return nil, false
				}
				if pathBytes[b] == unescape {
					out = append(out, b)
				} else {
					out = append(out, p[i:i+3]...)
				}
				i += 3
				continue
			case pathBytes[c] == escape:
				const digits = "0123456789ABCDEF"
				out = append(out, '%', digits[c>>4], digits[c&15])
			default:
				out = append(out, c)
			}
			i++
		}
		if i < len(p) {
			out = append(out, '/')
			i++
		}
	}
	return out, true
}

// dropDotParameters makes "/..;x=1/" of a path "/../": servers that cut path parameters off would see it so. Only
// the plain spelling counts, as in Envoy.
func dropDotParameters(p string) string {
	if !strings.Contains(p, "/..;") && !strings.Contains(p, "/.;") {
		return p
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		switch {
		case strings.HasPrefix(s, "..;"):
			segments[i] = ".."
		case strings.HasPrefix(s, ".;"):
			segments[i] = "."
		}
	}
	return strings.Join(segments, "/")
}

// leadingDots counts the dots at the beginning of s, "." or "%2e" each, and the bytes they take.
func leadingDots(s string) (dots, n int) {
	for n < len(s) {
		switch {
		case s[n] == '.':
			n++
		case n+2 < len(s) && s[n] == '%' && s[n+1] == '2' && (s[n+2] == 'e' || s[n+2] == 'E'):
			n += 3
		default:
			return dots, n
		}
		dots++
	}
	return dots, n
}

// parent drops the last segment of out, which ends in '/'. The root is its own parent.
func parent(out []byte) []byte {
	i := len(out) - 1
	for i > 0 && out[i-1] != '/' {
		i--
	}
	if i == 0 {
		return out[:1]
	}
	return out[:i]
}

func merge(p []byte) []byte {
	out := p[:0]
	for i, c := range p {
		if c == '/' && i > 0 && p[i-1] == '/' {
			continue
		}
		out = append(out, c)
	}
	return out
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
