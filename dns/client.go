// Package dns asks recursive resolvers for the addresses of a name, and for its services (SRV).
//
// In: a name, and whom to ask: the system's resolvers (/etc/resolv.conf), or others. Out: what one look says, and for how
// long; /etc/hosts goes first. It keeps nothing, and must not know what names are for: both planes use it.
package dns

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Client looks names up, each time anew. Any goroutine may use it.
type Client struct {
	// ResolvConf and Hosts are files; empty are /etc/resolv.conf and /etc/hosts.
	ResolvConf, Hosts string
}

// The families of addresses, as indexes.
const (
	V4 = iota
	V6
	Families
)

// Reply is what came of asking for one family.
type Reply struct {
	// Addresses are in the order of the answer, empty if the name has none; 1000 at most.
	Addresses []netip.Addr
	// TTL is how long they hold, a day at most; 0 is not known. Fixed: for ever.
	TTL   time.Duration
	Fixed bool
	// Err is why nothing is known.
	Err error
}

// Addresses asks for the families that are wanted, both at once. The resolvers are "ip:port"; none are the system's.
// A name with few dots is asked for within the search domains of resolv.conf(5), in order, until one has addresses.
func (c *Client) Addresses(ctx context.Context, host string, want [Families]bool, resolvers []string) (out [Families]Reply) {
	if replies, ok := c.known(host, want); ok {
		return replies
	}
	conf := c.conf(resolvers)
	types := [Families]dnsmessage.Type{V4: dnsmessage.TypeA, V6: dnsmessage.TypeAAAA}
	for _, name := range conf.names(host) {
		var found [Families]Reply
		var wg sync.WaitGroup
		for i, t := range types {
			if want[i] {
				wg.Go(func() { found[i] = conf.query(ctx, name, t).reply() })
			}
		}
		wg.Wait()
		for i := range found {
			if len(found[i].Addresses) > 0 {
				return found
			}
			if found[i].Err != nil && out[i].Err == nil {
				out[i].Err = found[i].Err
			}
		}
	}
	return out
}

// Service is an SRV record (RFC 2782): one place where a service is.
type Service struct {
	// Target is a host's name in lower case, without a dot at its end.
	Target string
	// Port is never 0. The lowest Priority goes first; among equals, Weight is a share.
	Port, Priority, Weight uint16
}

// Services asks for the SRV records of a name such as _http._tcp.app.test, as Addresses does: in the order of the answer,
// each once, 1000 at most, with the time that they hold, a day at most (0: they hold for this moment). A record whose port
// is 0, or whose target is no host's name, is left out.
//
// A name that does not exist, or has no records, or one whose target is "." (decidedly not available), or none that can be
// used: that is none, and no error. Where there are records, no other name is asked for. An error says that nothing is known.
func (c *Client) Services(ctx context.Context, name string, resolvers []string) (records []Service, ttl time.Duration, err error) {
	conf := c.conf(resolvers)
	for _, name := range conf.names(name) {
		a := conf.query(ctx, name, dnsmessage.TypeSRV)
		if len(a.records) > 0 {
			if records = a.services(); len(records) > 0 {
				ttl = a.ttl
			}
			return records, ttl, nil
		}
		err = cmp.Or(err, a.err)
	}
	return nil, 0, err
}

func (c *Client) conf(resolvers []string) *resolvConf {
	conf := readResolvConf(cmp.Or(c.ResolvConf, "/etc/resolv.conf"))
	if len(resolvers) > 0 {
		conf.servers = resolvers
	}
	return conf
}

// known are the addresses that need no asking: of an address, of localhost (RFC 6761, 6.3), and of what stands in hosts.
func (c *Client) known(host string, want [Families]bool) (out [Families]Reply, ok bool) {
	add := func(ip netip.Addr, fixed bool) {
		i := V4
		if ip = ip.Unmap(); ip.Is6() {
			i = V6
		}
		if want[i] {
			out[i].Addresses = append(out[i].Addresses, ip.WithZone(""))
			out[i].Fixed, ok = fixed, true
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		add(ip, true)
		return out, true
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	for _, ip := range readHosts(cmp.Or(c.Hosts, "/etc/hosts"), name) {
		add(ip, false)
	}
	if !ok && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
		add(netip.AddrFrom4([4]byte{127, 0, 0, 1}), true)
		add(netip.IPv6Loopback(), true)
	}
	return out, ok
}
