package harness

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Names is a name server on 127.0.0.1, over UDP, whose answers a test changes. Their TTL is a second.
type Names struct {
	// Addr is 127.0.0.1:port.
	Addr string

	mu sync.Mutex
	// Guarded by mu. zone is by name, with the dot at its end.
	zone map[string]*zoneEntry
	// placed are the addresses of upstreams by name; ports are those of services' upstreams.
	placed map[string]netip.Addr
	ports  map[string]uint16
	next   byte
	asked  map[string]int
}

// zoneEntry is what is said of a name. fault is nxdomain, nodata, servfail, silent, or empty.
type zoneEntry struct {
	addresses []netip.Addr
	services  []dnsmessage.SRVResource
	alias     string
	fault     string
}

// NewNames serves until the test's end.
func NewNames(tb testing.TB) *Names {
	tb.Helper()
	n := &Names{zone: map[string]*zoneEntry{}, placed: map[string]netip.Addr{}, ports: map[string]uint16{}, asked: map[string]int{}, next: 2}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n.Addr = l.Addr().String()
	packets, err := net.ListenPacket("udp", n.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	tb.Cleanup(func() {
		_ = l.Close()
		_ = packets.Close()
		wg.Wait()
	})
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := n.answer(buf[:size]); answer != nil {
				_, _ = packets.WriteTo(answer, from)
			}
		}
	})
	return n
}

// Set says what a name has from now on: the addresses of upstreams, IP addresses, SRV records (v1/10/60: see record),
// "=other" for an alias, or a fault: nxdomain, nodata, servfail, silent.
func (n *Names) Set(tb testing.TB, words ...string) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &zoneEntry{}
	for _, w := range words[1:] {
		ip, placed := n.placed[w]
		switch {
		case isFault(w):
			e.fault = w
		case strings.Contains(w, "/"):
			srv, err := n.record(words[0], w)
			if err != nil {
				tb.Fatalf("DNS %v: %v", words, err)
			}
			e.services = append(e.services, srv)
		case strings.HasPrefix(w, "="):
			e.alias = w[1:] + "."
		case placed:
			e.addresses = append(e.addresses, ip)
		default:
			ip, err := netip.ParseAddr(w)
			if err != nil {
				tb.Fatalf("DNS %v: %q is no upstream, address or fault", words, w)
			}
			e.addresses = append(e.addresses, ip)
		}
	}
	n.zone[words[0]+"."] = e
}

func isFault(word string) bool {
	return word == "nxdomain" || word == "nodata" || word == "servfail" || word == "silent"
}

// Asked is how often a name has been asked for.
func (n *Names) Asked(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[name+"."]
}

// answer is to one query; nil is none.
func (n *Names) answer(query []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	name := strings.ToLower(q.Name.String())
	n.asked[name]++
	e := n.zone[name]
	if e == nil {
		e = &zoneEntry{fault: "nxdomain"}
	}
	reply := dnsmessage.Header{ID: h.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}
	switch e.fault {
	case "silent":
		return nil
	case "servfail":
		reply.RCode = dnsmessage.RCodeServerFailure
	case "nxdomain":
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	b.EnableCompression()
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	owner := q.Name
	if e.fault == "" && e.alias != "" {
		alias := dnsmessage.MustNewName(e.alias)
		_ = b.CNAMEResource(dnsmessage.ResourceHeader{Name: owner, Class: q.Class, TTL: 1}, dnsmessage.CNAMEResource{CNAME: alias})
		owner, e = alias, n.zone[e.alias]
		if e == nil {
			e = &zoneEntry{}
		}
	}
	if e.fault == "" && q.Type == dnsmessage.TypeSRV {
		for _, srv := range e.services {
			_ = b.SRVResource(dnsmessage.ResourceHeader{Name: owner, Class: q.Class, TTL: 1}, srv)
		}
	}
	if e.fault == "" {
		for _, ip := range e.addresses {
			header := dnsmessage.ResourceHeader{Name: owner, Class: q.Class, TTL: 1}
			switch {
			case q.Type == dnsmessage.TypeA && ip.Is4():
				_ = b.AResource(header, dnsmessage.AResource{A: ip.As4()})
			case q.Type == dnsmessage.TypeAAAA && ip.Is6():
				_ = b.AAAAResource(header, dnsmessage.AAAAResource{AAAA: ip.As16()})
			}
		}
	}
	message, err := b.Finish()
	if err != nil {
		return nil
	}
	return message
}

// names is the stage's name server.
func (s *Stage) names(tb testing.TB) *Names {
	if s.Server == nil {
		s.Server = NewNames(tb)
	}
	return s.Server
}

// named makes upstreams at addresses of one port, and a name that has them. Those whose name begins with '-' are not among
// its addresses yet.
func (s *Stage) named(tb testing.TB, kind maker, name string, answers []string) string {
	tb.Helper()
	n := s.names(tb)
	label := strings.ReplaceAll(name, ".", "-")
	if s.Ports[label] == 0 {
		s.Ports[label] = FreePort(tb)
	}
	address := fmt.Sprintf("%s:%d", name, s.Ports[label])
	if n.zone[name+"."] != nil {
		return address
	}
	words := []string{name}
	for _, answer := range answers {
		answer, later := strings.CutPrefix(answer, "-")
		up, at, explicit := strings.Cut(answer, "@")
		switch {
		case isFault(up), strings.HasPrefix(up, "="):
			words = append(words, up)
			continue
		case n.placed[up].IsValid():
		default:
			if !explicit {
				at = "127.0.0." + strconv.Itoa(int(n.next))
				n.next++
			}
			ip := netip.MustParseAddr(at)
			s.Upstreams[up] = kind(tb, up, At(tb, netip.AddrPortFrom(ip, uint16(s.Ports[label]))))
			n.mu.Lock()
			n.placed[up] = ip
			n.mu.Unlock()
		}
		if !later {
			words = append(words, up)
		}
	}
	n.Set(tb, words...)
	return address
}

// At lets an upstream that New makes listen at an address.
func At(tb testing.TB, address netip.AddrPort) func(*Upstream) {
	return func(u *Upstream) {
		tb.Helper()
		_ = u.listener.Close()
		l, err := net.Listen("tcp", address.String())
		if err != nil {
			tb.Fatal(err)
		}
		u.listener, u.Addr = l, address.String()
	}
}
