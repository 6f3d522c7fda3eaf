package route

import (
	"strconv"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Location is where a redirect sends a request: its own URL, with the parts that the redirect names replaced. The
// request's port goes if the redirect names a port, or if the scheme changes and the port is the old scheme's own.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-redirectaction
func Location(route *config.Route, req *message.Request) string {
	r := route.Redirect
	scheme := req.Scheme
	if r.Scheme != "" {
		scheme = r.Scheme
	}
	host := r.Host
	if host == "" {
		host = req.Authority
		bare := WithoutPort(host)
		port := strings.TrimPrefix(host[len(bare):], ":")
		changed := scheme != req.Scheme
		if r.Port != 0 || changed && (req.Scheme == "http" && port == "80" || req.Scheme == "https" && port == "443") {
			host = bare
		}
	}
	port := ""
	if r.Port != 0 {
		port = ":" + strconv.Itoa(int(r.Port))
	}
	return scheme + "://" + host + port + redirectedPath(route, req.Path)
}

// redirectedPath is the path and query of a redirect.
func redirectedPath(route *config.Route, path string) string {
	r := route.Redirect
	bare := withoutQuery(path)
	query := path[len(bare):]
	if r.StripQuery {
		query = ""
	}
	switch {
	case strings.IndexByte(r.Path, '?') >= 0:
		return r.Path
	case r.Path != "":
		return r.Path + query
	case r.Rewrite != nil:
		bare = rewritten(r.Rewrite, &route.Match, bare)
	}
	return bare + query
}
