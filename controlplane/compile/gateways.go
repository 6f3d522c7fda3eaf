package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

type gateway struct {
	doc       *definition.Document
	msg       *sluicev1.Gateway // with defaults
	listeners []*listener       // the good ones
	bad       []string          // names of the others: they are reported already
}

// listener is one listener of the language.
type listener struct {
	gateway *gateway
	msg     *sluicev1.Listener
	name    string // gateway/listener
	field   string // listeners[0]
	address ir.Address
	idle    time.Duration
	// headersTimeout, requestTimeout and headerBytes are those of HTTP.
	headersTimeout, requestTimeout time.Duration
	headerBytes                    uint64
	// certs are the certificates that can be presented, in order; fields are where they are named.
	certs []*certificate
	// clients says which certificates clients must show; nil is none.
	clients *ir.Clients
	// backends are for TCP.
	backends []ir.Backend
	// joins are the Routes that answer here.
	joins []*route
}

// tls: connections are told apart by their server names.
func (l *listener) tls() bool {
	return l.msg.GetProtocol() == sluicev1.Listener_HTTPS || l.msg.GetProtocol() == sluicev1.Listener_TLS
}

// tcp: bytes are carried to backends.
func (l *listener) tcp() bool {
	return l.msg.GetProtocol() == sluicev1.Listener_TCP || l.msg.GetProtocol() == sluicev1.Listener_TLS
}

// passes: TLS is not terminated.
func (l *listener) passes() bool { return l.tcp() && l.tls() && len(l.msg.GetCertificates()) == 0 }

// joinable: Routes can answer here.
func (l *listener) joinable() bool { return !l.tcp() && l.msg.GetRedirect() == nil }

// fleet collects what one fleet's proxies get.
type fleet struct {
	listeners []*listener
}

// resolveGateways resolves each listener by itself. A bad one is left out alone.
func (c *compiler) resolveGateways() {
	for _, name := range sortedKeys(c.gateways) {
		g := c.gateways[name]
		if c.fleets[g.msg.GetFleet()] == nil {
			c.fleets[g.msg.GetFleet()] = &fleet{}
		}
		for i, m := range g.msg.GetListeners() {
			l := &listener{gateway: g, msg: m, name: name + "/" + m.GetName(), field: fmt.Sprintf("listeners[%d]", i)}
			if !c.listener(l) {
				g.bad = append(g.bad, m.GetName())
				continue
			}
			g.listeners = append(g.listeners, l)
			c.listeners = append(c.listeners, l)
		}
	}
}

// listener resolves what a listener refers to.
func (c *compiler) listener(l *listener) bool {
	d, m, ok := l.gateway.doc, l.msg, true
	// definition has checked the address and the duration.
	var err error
	if l.address, err = bindAddress(m); err != nil {
		c.errorf(d, l.field+".address", definition.CodeBadAddress, "got %q, want an IP address", m.GetAddress())
		ok = false
	}
	if l.idle, err = definition.ParseDuration(m.GetIdleTimeout()); err != nil {
		c.errorf(d, l.field+".idleTimeout", definition.CodeDuration, "got %s: %v", m.GetIdleTimeout(), err)
		ok = false
	}
	// definition has checked these.
	limits := m.GetLimits()
	l.headersTimeout, _ = definition.ParseDuration(limits.GetRequestHeadersTimeout())
	l.requestTimeout, _ = definition.ParseDuration(limits.GetRequestTimeout())
	l.headerBytes, _ = definition.ParseSize(limits.GetHeaderBytes())
	if l.tcp() {
		var good bool
		l.backends, good = c.backends(d, l.field+".backends", m.GetBackends())
		ok = c.hashesTCP(d, l.field+".backends", m.GetProtocol(), m.GetBackends()) && ok && good
	}
	if l.tls() && !l.passes() {
		// A certificate that cannot be had leaves the others to serve.
		for i, name := range m.GetCertificates() {
			if cert := c.certs[name]; cert != nil {
				l.certs = append(l.certs, cert)
				continue
			}
			c.missing(d, fmt.Sprintf("%s.certificates[%d]", l.field, i), definition.CodeUnknownCertificate, definition.Ref{Kind: "Certificate", Name: name})
		}
		ok = ok && len(l.certs) > 0
	}
	if m := m.GetClientCertificates(); m != nil {
		v, good := c.validation(d, l.field+".clientCertificates", m.GetTrustBundle(), m.GetSubjectAltNames())
		l.clients, ok = &ir.Clients{Validation: v, Optional: m.GetOptional()}, ok && good
	}
	return ok
}

// splitGatewayRef cuts "web/https" into Gateway and listener; the listener may be "".
func splitGatewayRef(ref string) (gateway, listener string) {
	gateway, listener, _ = strings.Cut(ref, "/")
	return gateway, listener
}

// heldListeners says where the Gateways stand that a Route joins.
func (c *compiler) heldListeners(refs []string) string {
	var list []string
	for _, ref := range refs {
		name, _ := splitGatewayRef(ref)
		list = append(list, fmt.Sprintf("Gateway/%s (%s)", name, c.gateways[name].doc.Position))
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// join is gatewayRef, which is asked once for all that say the same.
func (c *compiler) join(d *definition.Document, i int, ref string) ([]*listener, bool) {
	if joined, known := c.joined[ref]; known {
		return joined, true
	}
	joined, ok := c.gatewayRef(d, indexed("gateways", i), ref)
	if ok {
		joined = slices.SortedFunc(slices.Values(joined), func(a, b *listener) int { return cmp.Compare(a.name, b.name) })
		c.joined[ref] = joined
	}
	return joined, ok
}

// gatewayRef resolves one of a Route's gateways to the listeners that it joins. False: the reference is wrong. A
// listener that is held back is reported at its Gateway, and not here.
func (c *compiler) gatewayRef(d *definition.Document, field, ref string) ([]*listener, bool) {
	name, listenerName := splitGatewayRef(ref)
	g := c.gateways[name]
	if g == nil {
		c.missing(d, field, definition.CodeUnknownGateway, definition.Ref{Kind: "Gateway", Name: name})
		return nil, false
	}
	wrong := func(format string, args ...any) ([]*listener, bool) {
		to := definition.Ref{Kind: "Listener", Name: ref}
		c.out.Missing[to] = append(c.out.Missing[to], d.Ref)
		c.errorf(d, field, definition.CodeUnknownListener, format, args...)
		return nil, false
	}
	if listenerName == "" {
		var joined []*listener
		for _, l := range g.listeners {
			if l.joinable() {
				joined = append(joined, l)
			}
		}
		if len(joined) == 0 && len(g.bad) == 0 {
			return wrong("got Gateway %s, which has no listener that a Route can join, want one of HTTP or HTTPS that does not redirect", name)
		}
		return joined, true
	}
	for _, l := range g.listeners {
		switch {
		case l.msg.GetName() != listenerName:
		case l.tcp():
			return wrong("got listener %s, which is %s, want one of HTTP or HTTPS", ref, l.msg.GetProtocol())
		case !l.joinable():
			return wrong("got listener %s, which answers every request with a redirect, want one that does not", ref)
		default:
			return []*listener{l}, true
		}
	}
	if slices.Contains(g.bad, listenerName) {
		return nil, true
	}
	return wrong("got listener %s, want a listener of Gateway %s (%s)", ref, name, g.doc.Position)
}
