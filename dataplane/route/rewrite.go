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
	path := withoutQuery(req.Path)
	query := req.Path[len(path):]
	switch {
	case w.Pattern != nil:
		req.Path = bytesOf(w.Pattern.ReplaceAllString(latin1(path), w.With)) + query
	case w.Prefix == "":
		return true
	case r.Match.PathKind == config.PathExact || r.Match.PathKind == config.PathRegex:
		req.Path = w.Prefix + query
	default:
		req.Path = w.Prefix + req.Path[len(r.Match.Path):]
	}
	return strings.HasPrefix(req.Path, "/")
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
