package harness

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// record is an SRV record of a name: v1/10/60 is the upstream v1 with priority 10 and weight 60, at v1.a.test if the name is
// _http._tcp.a.test, which has its address from then on; other.test:80/10/60 is the host other.test and port 80. Called with
// mu held.
func (n *Names) record(name, word string) (srv dnsmessage.SRVResource, err error) {
	parts := strings.Split(word, "/")
	if len(parts) != 3 {
		return srv, fmt.Errorf("%q is no upstream/priority/weight", word)
	}
	target, port, explicit := strings.Cut(parts[0], ":")
	if !explicit {
		if n.ports[target] == 0 {
			return srv, fmt.Errorf("%q is no service's upstream", target)
		}
		host := hostOf(name, target)
		if n.zone[host+"."] == nil {
			n.zone[host+"."] = &zoneEntry{addresses: []netip.Addr{n.placed[target]}}
		}
		target, port = host, strconv.Itoa(int(n.ports[target]))
	}
	var numbers [3]uint16
	for i, text := range []string{port, parts[1], parts[2]} {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return srv, fmt.Errorf("%q: %w", word, err)
		}
		numbers[i] = uint16(number)
	}
	srv = dnsmessage.SRVResource{Port: numbers[0], Priority: numbers[1], Weight: numbers[2]}
	srv.Target, err = dnsmessage.NewName(strings.TrimSuffix(target, ".") + ".")
	return srv, err
}

// hostOf is the name of an upstream of _http._tcp.a.test: v1.a.test.
func hostOf(service, upstream string) string {
	words := strings.SplitN(service, ".", 3)
	return upstream + "." + words[len(words)-1]
}

// service makes upstreams at addresses and ports of their own, and a name that has them as SRV records. Those that begin
// with '-' are not among its records yet.
func (s *Stage) service(tb testing.TB, kind maker, name string, answers []string) string {
	tb.Helper()
	n := s.names(tb)
	if n.zone[name+"."] != nil {
		return "srv:" + name
	}
	words := []string{name}
	for _, answer := range answers {
		answer, later := strings.CutPrefix(answer, "-")
		if up, _, ok := strings.Cut(answer, "/"); ok && !strings.Contains(up, ":") {
			s.place(tb, kind, up, hostOf(name, up))
		}
		words = append(words, answer)
		if later {
			// A host has its address all the same.
			n.Set(tb, words...)
			words = words[:len(words)-1]
		}
	}
	n.Set(tb, words...)
	return "srv:" + name
}

// place makes an upstream of services, unless there is one.
func (s *Stage) place(tb testing.TB, kind maker, up, host string) {
	tb.Helper()
	n := s.Server
	if n.ports[up] != 0 {
		return
	}
	if s.Upstreams[up] != nil {
		tb.Fatalf("the upstream %s stands elsewhere already: it cannot be a service's", up)
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, n.next}), uint16(FreePort(tb)))
	n.next++
	s.Ports[strings.ReplaceAll(host, ".", "-")] = int(address.Port())
	s.Upstreams[up] = kind(tb, up, At(tb, address), func(u *Upstream) { u.tries, u.well = &s.tries, s.well })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.placed[up], n.ports[up] = address.Addr(), address.Port()
}
