package route

import (
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Rewrite makes of a request what the upstream is to see. It is false if that is no path: a substitution may leave
// anything. r.Rewrite is set.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction
func Rewrite(r *config.Route, req *message.Request) bool {
	w := r.Rewrite
	if w.Host != "" {
		req.Authority = w.Host
	}
	req.Path = rewritten(w, &r.Match, req.Path)
	return strings.HasPrefix(req.Path, "/")
}

// rewritten is a path and its query, of a request that fits a match.
func rewritten(w *config.Rewrite, m *config.Match, path string) string {
	bare := withoutQuery(path)
	query := path[len(bare):]
	switch {
	case w.Pattern != nil:
		return bytesOf(w.Pattern.ReplaceAllString(latin1(bare), w.With)) + query
	case w.Prefix == "":
		return path
	case m.PathKind == config.PathExact || m.PathKind == config.PathRegex:
		return w.Prefix + query
	}
	return w.Prefix + path[len(m.Path):]
}

// latin1 is bytes as characters, which is how Envoy reads them for a pattern: 0x80 to 0xff are U+0080 to U+00FF. ASCII
// stays what it is, and costs nothing.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			characters := make([]rune, len(s))
			for j := range len(s) {
				characters[j] = rune(s[j])
			}
			return string(characters)
		}
	}
	return s
}

// bytesOf is the other way.
func bytesOf(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}
