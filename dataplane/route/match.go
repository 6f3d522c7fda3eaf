package route

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// plain says whether a match asks for nothing but a path that the tree compares.
func plain(m *config.Match) bool {
	return m.PathKind != config.PathRegex && len(m.Headers) == 0 && len(m.Query) == 0 && !m.GRPC && len(m.Sources) == 0 && m.Fraction == nil
}

// rest says whether all that the tree does not compare holds.
func rest(m *config.Match, req *message.Request, given *Given) bool {
	if matchHeaders(m.Headers, req) >= 0 || len(m.Query) > 0 && matchQuery(m.Query, req.Path) >= 0 || m.GRPC && !req.GRPC() {
		return false
	}
	if m.PathKind == config.PathRegex && !whole(m.PathRegex, withoutQuery(req.Path)) {
		return false
	}
	return (len(m.Sources) == 0 || from(m.Sources, given.Source)) && (m.Fraction == nil || drawn(m.Fraction, given))
}

func from(networks []netip.Prefix, source netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(source) {
			return true
		}
	}
	return false
}

// drawn is Envoy's way to turn a random number into a share.
func drawn(f *config.Fraction, given *Given) bool {
	return given.Random%uint64(f.Denominator) < uint64(f.Numerator)
}

func matchPath(m *config.Match, path string) bool {
	switch m.PathKind {
	case config.PathExact:
		return path == m.Path
	case config.PathSeparatedPrefix:
		return strings.HasPrefix(path, m.Path) && (len(path) == len(m.Path) || path[len(m.Path)] == '/')
	case config.PathRegex:
		return whole(m.PathRegex, path)
	default:
		return strings.HasPrefix(path, m.Path)
	}
}

// matchHeaders is the index of the first header that does not match, or -1.
func matchHeaders(headers []config.HeaderMatch, req *message.Request) int {
	for i := range headers {
		if !holds(&headers[i], req) {
			return i
		}
	}
	return -1
}

// HasAny tells whether a request has one of some headers; without any it does.
func HasAny(headers []config.HeaderMatch, req *message.Request) bool {
	for i := range headers {
		if holds(&headers[i], req) {
			return true
		}
	}
	return len(headers) == 0
}

// holds tells whether a header match holds. Of several lines of one name any may match, by itself: Envoy 1.40 does not
// join them. Inverted, there must be a line and none that fits, but that what asks for presence alone is its opposite.
func holds(m *config.HeaderMatch, req *message.Request) bool {
	if m.Kind == config.TextExact && !m.Invert {
		return hasLine(m, req)
	}
	there, fits := false, false
	if got, ok := pseudoValue(req, m.Name); ok {
		there, fits = true, fitsText(&m.Text, got)
	} else {
		for i := range req.Header {
			f := &req.Header[i]
			if !message.EqualName(f.Name, m.Name) {
				continue
			}
			there = true
			if fitsText(&m.Text, f.Value) {
				fits = true
				break
			}
		}
	}
	switch {
	case m.Kind == config.TextPresent:
		return there != m.Invert
	case m.Kind == config.TextAbsent:
		return there == m.Invert
	}
	return there && fits != m.Invert
}

// hasLine is the common case: one of the lines is exactly so.
func hasLine(m *config.HeaderMatch, req *message.Request) bool {
	if got, ok := pseudoValue(req, m.Name); ok {
		return got == m.Value
	}
	for i := range req.Header {
		if f := &req.Header[i]; f.Value == m.Value && message.EqualName(f.Name, m.Name) {
			return true
		}
	}
	return false
}

// fitsText compares a value that is there.
func fitsText(t *config.Text, value string) bool {
	switch t.Kind {
	case config.TextExact:
		return value == t.Value
	case config.TextPrefix:
		return strings.HasPrefix(value, t.Value)
	case config.TextSuffix:
		return strings.HasSuffix(value, t.Value)
	case config.TextContains:
		return strings.Contains(value, t.Value)
	case config.TextRegex:
		return whole(t.Regex, value)
	case config.TextPresent:
		return true
	}
	return false
}

// whole matches as Envoy does, in Latin-1: each byte is a character. It allocates only for a text beyond ASCII.
func whole(re *regexp.Regexp, text string) bool { return re.MatchString(latin1(text)) }

// matchQuery is the index of the first parameter that does not match, or -1.
func matchQuery(params []config.QueryMatch, path string) int {
	for i := range params {
		p := &params[i]
		value, ok := QueryValue(path, p.Name)
		if ok && !fitsText(&p.Text, value) || !ok && p.Kind != config.TextAbsent {
			return i
		}
	}
	return -1
}

// QueryValue is the value of the first parameter of a name, as it stands in the URL; "a" is "a=". Envoy decodes nothing
// either, and knows no other separator than '&'.
func QueryValue(path, name string) (string, bool) {
	_, query, _ := strings.Cut(path, "?")
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(one, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// headerValue is a header's value for people: several lines are joined.
func headerValue(req *message.Request, name string) (string, bool) {
	if value, ok := pseudoValue(req, name); ok {
		return value, ok
	}
	return req.Header.Joined(name)
}

// pseudoValue is the value of what is a header to a match, and stands in a field of its own.
func pseudoValue(req *message.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return req.Method, true
	case ":path":
		return req.Path, true
	case ":scheme":
		return req.Scheme, true
	case ":authority", "host":
		return req.Authority, req.Authority != ""
	}
	return "", false
}
