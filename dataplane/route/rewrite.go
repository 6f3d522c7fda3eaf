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
	case w.Regex != nil:
		req.Path = toBytes(w.Regex.Replace(toText(path))) + query
	case w.Prefix == "":
		return true
	case r.Match.PathKind == config.PathExact || r.Match.PathKind == config.PathRegex:
		req.Path = w.Prefix + query
	default:
		req.Path = w.Prefix + req.Path[len(r.Match.Path):]
	}
	return strings.HasPrefix(req.Path, "/")
}

// toText is bytes as the characters of Latin-1, which is how patterns are read.
func toText(s string) string {
	if ascii(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func toBytes(s string) string {
	if ascii(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
