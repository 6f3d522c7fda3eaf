package translate

import (
	"net/http"
	"strings"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// socket is what a redirect must know of the listener that it stands on. The zero value is "not known".
type socket struct {
	port   uint16
	scheme string
}

// socketsOf finds the socket of each route table, by name.
func socketsOf(f *ir.Fleet) map[string]socket {
	sockets := map[string]socket{}
	add := func(l *ir.Listener, c *ir.FilterChain) {
		if c == nil || c.HTTP == nil {
			return
		}
		s := socket{port: l.Address.Port(), scheme: "http"}
		if c.Certificate != "" {
			s.scheme = "https"
		}
		sockets[c.HTTP.RouteTable] = s
	}
	for i := range f.Listeners {
		l := &f.Listeners[i]
		for j := range l.Chains {
			add(l, &l.Chains[j])
		}
		add(l, l.Default)
	}
	return sockets
}

// redirect answers with the request's URL, with some parts replaced.
//
// The language promises: a port that is left out is the scheme's own if scheme is set, else the listener's. Envoy keeps
// the port of the request's Host unless host_redirect or port_redirect is set, or scheme_redirect leaves a scheme whose
// own port it is: behind a listener on 8080 "scheme: https" would lead to https://host:8080. And a port_redirect always
// stands in the Location, be it the scheme's own. So, where the port is the scheme's own:
//   - with a new host nothing is needed;
//   - on an exact host, that host is stated, which drops the port;
//   - on a wildcard host and a listener on its scheme's own port, Envoy drops the port by itself;
//   - else the port is stated: https://host:443/ is less pretty, and right.
func redirect(r *ir.Redirect, host string, on socket) *routepb.RedirectAction {
	m := &routepb.RedirectAction{HostRedirect: r.Host, ResponseCode: redirectCode(r.Status), StripQuery: r.StripQuery}
	if r.Path != "" {
		m.PathRewriteSpecifier = &routepb.RedirectAction_PathRedirect{PathRedirect: r.Path}
	}
	if r.Scheme != "" {
		m.SchemeRewriteSpecifier = &routepb.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	scheme, port := r.Scheme, r.Port
	if scheme == "" {
		scheme = on.scheme
	}
	if port == 0 {
		port = ownPort(scheme)
		if r.Scheme == "" {
			port = on.port
		}
	}
	switch {
	case port != ownPort(scheme):
		m.PortRedirect = uint32(port)
	case r.Host != "":
	case !strings.HasPrefix(host, "*"):
		m.HostRedirect = host
	case on.port != 0 && on.port == ownPort(on.scheme):
	default:
		m.PortRedirect = uint32(port)
	}
	return m
}

// ownPort is the port that a URL without one means; 0 for an unknown scheme.
func ownPort(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// redirectCode is Envoy's name of a status. ir allows no others.
func redirectCode(status int) routepb.RedirectAction_RedirectResponseCode {
	switch status {
	case http.StatusFound:
		return routepb.RedirectAction_FOUND
	case http.StatusSeeOther:
		return routepb.RedirectAction_SEE_OTHER
	case http.StatusTemporaryRedirect:
		return routepb.RedirectAction_TEMPORARY_REDIRECT
	case http.StatusPermanentRedirect:
		return routepb.RedirectAction_PERMANENT_REDIRECT
	}
	return routepb.RedirectAction_MOVED_PERMANENTLY
}
