package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// claimSockets gives each fleet's sockets to listeners. Who is being served on a socket keeps it; then who comes first by
// path. The newcomer is left out and told who has it.
func (c *compiler) claimSockets() {
	if c.in.Sockets == nil {
		c.in.Sockets = servedSockets(c.in.Served)
	}
	byFleet := map[string][]*listener{}
	for _, name := range sortedKeys(c.gateways) {
		g := c.gateways[name]
		byFleet[g.msg.GetFleet()] = append(byFleet[g.msg.GetFleet()], g.listeners...)
	}
	for _, name := range sortedKeys(byFleet) {
		claims := byFleet[name]
		slices.SortStableFunc(claims, func(a, b *listener) int {
			return cmp.Or(cmp.Compare(c.rank(a), c.rank(b)),
				comparePositions(a.gateway.doc.At(a.field), b.gateway.doc.At(b.field)))
		})
		byPort := map[uint16][]*listener{}
		for _, l := range claims {
			port := l.address.Port()
			if c.conflicts(l, byPort[port]) {
				g := l.gateway
				g.listeners = slices.DeleteFunc(g.listeners, func(x *listener) bool { return x == l })
				g.bad = append(g.bad, l.msg.GetName())
				continue
			}
			byPort[port] = append(byPort[port], l)
			c.out.Sockets[l.socket()] = true
			c.fleets[name].listeners = append(c.fleets[name].listeners, l)
		}
		slices.SortFunc(c.fleets[name].listeners, func(a, b *listener) int { return cmp.Compare(a.name, b.name) })
	}
}

func (l *listener) socket() Socket {
	return Socket{l.gateway.msg.GetFleet(), l.address, l.gateway.msg.GetName(), l.msg.GetProtocol(), proxyHeader(l.msg)}
}

// bindAddress is where a listener, with defaults, listens.
func bindAddress(l *sluicev1.Listener) (ir.Address, error) {
	if path := l.GetSocket().GetPath(); path != "" {
		return ir.Address{Path: path}, nil
	}
	ip, err := netip.ParseAddr(l.GetAddress())
	return ir.Address{AddrPort: netip.AddrPortFrom(ip, uint16(l.GetPort()))}, err
}

// socketMode is the permissions of a listener's unix socket; 0 is the umask's.
func socketMode(l *sluicev1.Listener) uint32 {
	mode, _ := strconv.ParseUint(l.GetSocket().GetMode(), 8, 9) // definition has checked it
	return uint32(mode)
}

// servedSockets are those of the documents that are served.
func servedSockets(served map[definition.Ref]*definition.Document) map[Socket]bool {
	sockets := map[Socket]bool{}
	for _, d := range served {
		m, ok := d.Message.(*sluicev1.Gateway)
		if !ok {
			continue
		}
		m = definition.WithDefaults(m)
		for _, l := range m.GetListeners() {
			if address, err := bindAddress(l); err == nil {
				sockets[Socket{m.GetFleet(), address, m.GetName(), l.GetProtocol(), proxyHeader(l)}] = true
			}
		}
	}
	return sockets
}

// rank is 0 for a listener that is served on its socket now, 1 for a newcomer, 2 for the built-in Gateway's.
func (c *compiler) rank(l *listener) int {
	switch {
	case c.in.Sockets[l.socket()]:
		return 0
	case isBuiltin(l.gateway.doc):
		return 2
	}
	return 1
}

// conflicts reports the first of the listeners on the same port that l cannot live with.
func (c *compiler) conflicts(l *listener, others []*listener) bool {
	d := l.gateway.doc
	for _, o := range others {
		at := o.gateway.doc.At(o.field)
		switch {
		case l.address != o.address && !overlap(l.address.Addr(), o.address.Addr()):
			continue
		case l.address == o.address && l.tls() && o.tls():
			// It is read before the server name, which tells them apart.
			if mine, other := proxyHeader(l.msg), proxyHeader(o.msg); mine != other {
				c.errorf(d, l.field+".proxyProtocol", definition.CodePortConflict,
					"got %s on %s, which Gateway/%s (%s) has %s on, want the same for all listeners of a socket", wording[mine], l.address, o.name, at, wording[other])
				return true
			}
			if mine, other := l.msg.GetSocket().GetMode(), o.msg.GetSocket().GetMode(); mine != other {
				c.errorf(d, l.field+".socket", definition.CodePortConflict,
					"got mode %q for %s, which Gateway/%s (%s) has with mode %q, want the same for all listeners of a socket", mine, l.address, o.name, at, other)
				return true
			}
			for _, host := range l.msg.GetHosts() {
				if slices.Contains(o.msg.GetHosts(), host) {
					c.errorf(d, l.field+".hosts", definition.CodeHostConflict,
						"got host %s on %s, which Gateway/%s (%s) has already on that socket, want distinct hosts", host, l.address, o.name, at)
					return true
				}
			}
		case l.address == o.address && l.address.Path != "":
			c.errorf(d, l.field+".socket", definition.CodePortConflict,
				"got %s, which Gateway/%s (%s) has already, want another socket; only HTTPS and TLS listeners with distinct hosts share one", l.address, o.name, at)
			return true
		case l.address == o.address:
			c.errorf(d, l.field+".port", definition.CodePortConflict,
				"got %s, which Gateway/%s (%s) has already, want another port; only HTTPS and TLS listeners with distinct hosts share one", l.address, o.name, at)
			return true
		default:
			c.errorf(d, l.field+".port", definition.CodePortConflict,
				"got %s, which %s of Gateway/%s (%s) takes in already, want another port", l.address, o.address, o.name, at)
			return true
		}
	}
	return false
}

// overlap: two different addresses cannot both be bound on one port. "::" takes IPv4 too.
func overlap(a, b netip.Addr) bool {
	v6Any := netip.IPv6Unspecified()
	if a == v6Any || b == v6Any {
		return true
	}
	return a.Is4() && b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}
