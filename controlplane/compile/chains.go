package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// socket is the listeners of the language on one address and port, sorted by name. Only those told apart by server names share one.
type socket struct {
	address   ir.Address
	listeners []*listener
}

// sockets groups a fleet's listeners, sorted by name of the socket.
func sockets(listeners []*listener) []*socket {
	at := map[ir.Address]*socket{}
	var all []*socket
	for _, l := range listeners {
		s := at[l.address]
		if s == nil {
			s = &socket{address: l.address}
			at[l.address] = s
			all = append(all, s)
		}
		s.listeners = append(s.listeners, l)
	}
	slices.SortFunc(all, func(a, b *socket) int { return cmp.Compare(a.address.String(), b.address.String()) })
	return all
}

// owner is the listener whose hosts fit a name best; nil: none covers it.
func (s *socket) owner(host string) *listener {
	var best *listener
	var bestHost string
	for _, l := range s.listeners {
		if h, ok := mostSpecific(l.msg.GetHosts(), host); ok && (best == nil || specificity(h) > specificity(bestHost)) {
			best, bestHost = l, h
		}
	}
	return best
}

// socket makes one ir.Listener: one filter chain per certificate, so that adding a certificate drains nobody.
func (c *compiler) socket(s *socket) ir.Listener {
	// Who shares a socket agrees.
	out := ir.Listener{Name: s.address.String(), Address: s.address, Mode: socketMode(s.listeners[0].msg), ProxyProtocol: proxyHeader(s.listeners[0].msg)}
	if first := s.listeners[0]; !first.tls() {
		out.Chains = []ir.FilterChain{{
			Name: first.name, HTTP: first.http(), TCP: first.tcpProxy(), MaxConnections: first.msg.GetLimits().GetConnections(), Unlogged: first.unlogged(),
		}}
		return out
	}
	chains := &chainSet{byName: map[string]*ir.FilterChain{}, owner: map[string]*ir.FilterChain{}}
	for _, l := range s.listeners {
		for _, cert := range l.certs {
			c.certificateNames(s, l, cert, chains)
		}
	}
	for _, l := range s.listeners {
		if l.passes() {
			out.Chains = append(out.Chains, l.passthrough()...)
			continue
		}
		c.warnUncovered(l, chains)
		if l.msg.GetStrictSni() {
			continue
		}
		// The first certificate is presented for the listener's own hosts that no certificate covers, too.
		for _, host := range l.msg.GetHosts() {
			if host != anyHost && chains.owner[host] == nil {
				chains.claim(chains.of(l, l.certs[0]), host)
			}
		}
	}
	for _, chain := range chains.list {
		if len(chain.ServerNames) > 0 {
			slices.Sort(chain.ServerNames)
			out.Chains = append(out.Chains, *chain)
		}
	}
	slices.SortFunc(out.Chains, func(a, b ir.FilterChain) int { return cmp.Compare(a.Name, b.Name) })
	if l := s.fallback(); l != nil && !l.passes() {
		chain := newChain(l, l.certs[0])
		chain.Name += "/default"
		out.Default = chain
	}
	return out
}

// warnUncovered tells of hosts of which nothing is in any certificate: browsers and clients that check refuse what they are shown.
func (c *compiler) warnUncovered(l *listener, chains *chainSet) {
	for i, host := range l.msg.GetHosts() {
		if host == anyHost || chains.owner[host] != nil || strings.HasPrefix(host, "*.") && chains.under(host) {
			continue
		}
		what := "clients are shown that of " + l.certs[0].doc.Ref.Name + ", and refuse it"
		if l.msg.GetStrictSni() {
			what = "clients that ask for it are refused"
		}
		c.warnf(l.gateway.doc, indexed(l.field+".hosts", i), definition.CodeUncoveredHost, "no certificate of the listener covers %s: %s; add one that does", host, what)
	}
}

// fallback is the listener for clients whose server name nobody covers: the one for any host, else the first of HTTPS,
// whose Routes see the host again. Nil: they are refused.
func (s *socket) fallback() *listener {
	for _, l := range s.listeners {
		if slices.Contains(l.msg.GetHosts(), anyHost) {
			if l.msg.GetStrictSni() {
				return nil
			}
			return l
		}
	}
	for _, l := range s.listeners {
		if !l.msg.GetStrictSni() && !l.tcp() {
			return l
		}
	}
	return nil
}

// passthrough is the chains of a listener that does not terminate TLS: one for its names, and one for all others.
func (l *listener) passthrough() []ir.FilterChain {
	chain := ir.FilterChain{Name: l.name, Passthrough: true, TCP: l.tcpProxy(), MaxConnections: l.msg.GetLimits().GetConnections(), Unlogged: l.unlogged()}
	var chains []ir.FilterChain
	any := chain
	for _, host := range l.msg.GetHosts() {
		if host != anyHost {
			chain.ServerNames = append(chain.ServerNames, host)
		}
	}
	if slices.Sort(chain.ServerNames); len(chain.ServerNames) > 0 {
		chains = append(chains, chain)
	}
	if slices.Contains(l.msg.GetHosts(), anyHost) {
		any.Name += "/default"
		chains = append(chains, any)
	}
	return chains
}

// certificateNames gives a chain the names of its certificate, limited to what the listener's hosts cover and no other
// listener's cover better. A name stands in one chain only: the first certificate in order has it.
func (c *compiler) certificateNames(s *socket, l *listener, cert *certificate, chains *chainSet) {
	chain := chains.of(l, cert)
	taken, covers := "", false
	for _, name := range cert.names {
		for _, host := range l.msg.GetHosts() {
			both, ok := intersect(host, name)
			if !ok || !certifies(name, both) || s.owner(both) != l {
				continue
			}
			covers = true
			if other := chains.owner[both]; other != nil && other != chain {
				taken = both
				continue
			}
			chains.claim(chain, both)
		}
	}
	at := slices.Index(l.msg.GetCertificates(), cert.doc.Ref.Name)
	field := indexed(l.field+".certificates", at)
	switch {
	case taken != "":
		c.warnf(l.gateway.doc, field, definition.CodeOverlap, "certificate %s covers %s, as an earlier certificate of %s does, which is presented instead", cert.doc.Ref.Name, taken, s.address)
	case !covers && (at > 0 || l.msg.GetStrictSni()):
		c.warnf(l.gateway.doc, field, definition.CodeUnreachableRule, "certificate %s covers none of the listener's hosts: it is never presented", cert.doc.Ref.Name)
	}
}

// chainSet is the chains of one socket, and which of them has each server name.
type chainSet struct {
	list   []*ir.FilterChain
	byName map[string]*ir.FilterChain
	owner  map[string]*ir.FilterChain
}

func (s *chainSet) of(l *listener, cert *certificate) *ir.FilterChain {
	chain := newChain(l, cert)
	if have := s.byName[chain.Name]; have != nil {
		return have
	}
	s.byName[chain.Name] = chain
	s.list = append(s.list, chain)
	return chain
}

// under reports whether a certificate has a name that a host with a wildcard covers.
func (s *chainSet) under(wildcard string) bool {
	for name := range s.owner {
		if strings.HasSuffix(name, wildcard[1:]) {
			return true
		}
	}
	return false
}

func (s *chainSet) claim(chain *ir.FilterChain, name string) {
	if s.owner[name] == nil {
		s.owner[name] = chain
		chain.ServerNames = append(chain.ServerNames, name)
	}
}

func newChain(l *listener, cert *certificate) *ir.FilterChain {
	name := cert.doc.Ref.Name
	return &ir.FilterChain{
		Name: l.name + "/" + name, Certificate: name, Clients: l.clients, HTTP: l.http(), TCP: l.tcpProxy(), MaxConnections: l.msg.GetLimits().GetConnections(), Unlogged: l.unlogged(),
	}
}

func (l *listener) unlogged() bool { return l.msg.GetAccessLog().GetDisabled() }

func (l *listener) http() *ir.HTTP {
	if l.tcp() {
		return nil
	}
	limits := l.msg.GetLimits()
	return &ir.HTTP{
		RouteTable: l.name, IdleTimeout: l.idle,
		MaxHeaderBytes: uint32(l.headerBytes), MaxHeaderCount: limits.GetHeaderCount(),
		HeadersTimeout: l.headersTimeout, RequestTimeout: l.requestTimeout,
		MaxStreams: limits.GetStreams(), MaxRequests: limits.GetRequestsPerConnection(),
		ForwardClient: l.msg.GetClientCertificates().GetForward(),
	}
}

func (l *listener) tcpProxy() *ir.TCP {
	if !l.tcp() {
		return nil
	}
	return &ir.TCP{Backends: l.backends, IdleTimeout: l.idle}
}
