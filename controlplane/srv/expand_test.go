package srv

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

func server(target, address string, priority, weight uint16) Server {
	return Server{Target: target, Address: netip.MustParseAddrPort(address), Priority: priority, Weight: weight}
}

func TestExpand(t *testing.T) {
	records := func(name string, priority uint32) ir.Endpoint {
		return ir.Endpoint{Address: ir.Address{Records: name}, Weight: 1, Priority: priority}
	}
	fixed := func(address string, priority, weight uint32) ir.Endpoint {
		return ir.Endpoint{Address: ir.Address{AddrPort: netip.MustParseAddrPort(address)}, Weight: weight, Priority: priority}
	}
	var many []Server
	for i := range uint16(200) {
		many = append(many, server(fmt.Sprint("t", i), fmt.Sprintf("10.0.1.%d:80", i), 10*i, 1))
	}
	known := map[string][]Server{
		"one":   {server("a", "10.0.0.1:80", 0, 0)},
		"two":   {server("a", "10.0.0.1:80", 10, 60), server("b", "10.0.0.2:81", 10, 20), server("c", "10.0.0.3:80", 20, 0)},
		"three": {server("a", "10.0.0.1:80", 0, 3), server("a", "10.0.0.2:80", 0, 3), server("b", "10.0.0.3:80", 0, 3)},
		"seven": {
			server("a", "10.0.0.1:80", 0, 65535), server("a", "10.0.0.2:80", 0, 65535), server("a", "10.0.0.3:80", 0, 65535), server("a", "10.0.0.4:80", 0, 65535),
			server("a", "10.0.0.5:80", 0, 65535), server("a", "10.0.0.6:80", 0, 65535), server("a", "10.0.0.7:80", 0, 65535), server("b", "10.0.0.8:80", 0, 65535),
		},
		"ports": {server("a", "10.0.0.1:80", 0, 5), server("a", "10.0.0.1:81", 0, 5), server("b", "10.0.0.2:80", 0, 5)},
		"zero":  {server("a", "10.0.0.1:80", 0, 0), server("b", "10.0.0.2:80", 0, 1), server("b", "10.0.0.3:80", 0, 1)},
		"many":  many,
	}
	for _, c := range []struct {
		name      string
		endpoints []ir.Endpoint
		want      string // address*weight@priority
	}{
		{"a weight of 0 counts as 1", []ir.Endpoint{records("one", 0)}, "10.0.0.1:80*1@0"},
		{"priorities of records are numbered without gaps", []ir.Endpoint{records("two", 0)}, "10.0.0.1:80*60@0 10.0.0.2:81*20@0 10.0.0.3:80*1@1"},
		{"a target's addresses share its weight", []ir.Endpoint{records("three", 0)}, "10.0.0.1:80*3@0 10.0.0.2:80*3@0 10.0.0.3:80*6@0"},
		{"so many addresses share it nearly", []ir.Endpoint{records("seven", 0)},
			"10.0.0.1:80*65535@0 10.0.0.2:80*65535@0 10.0.0.3:80*65535@0 10.0.0.4:80*65535@0 10.0.0.5:80*65535@0 10.0.0.6:80*65535@0 10.0.0.7:80*65535@0 10.0.0.8:80*458745@0"},
		{"each port of a target has its own weight", []ir.Endpoint{records("ports", 0)}, "10.0.0.1:80*5@0 10.0.0.1:81*5@0 10.0.0.2:80*5@0"},
		{"of 0, too", []ir.Endpoint{records("zero", 0)}, "10.0.0.1:80*2@0 10.0.0.2:80*1@0 10.0.0.3:80*1@0"},
		{"the document's priority goes before the records'", []ir.Endpoint{fixed("10.0.0.9:80", 1, 5), records("two", 0), fixed("10.0.0.8:80", 2, 7)},
			"10.0.0.1:80*60@0 10.0.0.2:81*20@0 10.0.0.3:80*1@1 10.0.0.9:80*5@2 10.0.0.8:80*7@3"},
		{"a name that has no servers leaves no gap", []ir.Endpoint{records("none", 0), fixed("10.0.0.9:80", 1, 1)}, "10.0.0.9:80*1@0"},
		{"a server stands once, where it comes first", []ir.Endpoint{records("two", 0), records("three", 1)},
			"10.0.0.1:80*60@0 10.0.0.2:81*20@0 10.0.0.3:80*1@1 10.0.0.2:80*3@2"},
		{"sockets have no address to share", []ir.Endpoint{records("one", 0), {Address: ir.Address{Path: "/a"}, Weight: 1, Priority: 1}, {Address: ir.Address{Path: "/b"}, Weight: 1, Priority: 1}},
			"10.0.0.1:80*1@0 unix:/a*1@1 unix:/b*1@1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &ir.Fleet{Name: "edge", Clusters: []*ir.Cluster{{Name: "s", SRV: &ir.DNS{}, Endpoints: c.endpoints}}}
			out := Expand(f, func(_ *ir.DNS, name string) []Server { return known[name] })
			var got []string
			for _, e := range out.Clusters[0].Endpoints {
				got = append(got, fmt.Sprintf("%s*%d@%d", e.Address, e.Weight, e.Priority))
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if out.Clusters[0].SRV != nil || f.Clusters[0].SRV == nil || f.Clusters[0].Endpoints[0] != c.endpoints[0] {
				t.Error("got a cluster that is still to be looked up, or the compiled one changed")
			}
		})
	}
	f := &ir.Fleet{Clusters: []*ir.Cluster{{SRV: &ir.DNS{}, Endpoints: []ir.Endpoint{records("many", 0)}}}}
	out := Expand(f, func(*ir.DNS, string) []Server { return many }).Clusters[0].Endpoints
	if last := out[len(out)-1]; len(out) != 200 || last.Priority != maxPriorities-1 || out[127].Priority != 127 || out[126].Priority != 126 {
		t.Errorf("got %d endpoints, the last of priority %d, want 200, of at most %d", len(out), last.Priority, maxPriorities-1)
	}
	var sum uint64
	for range maxServers {
		sum += 65535 * mostShares
	}
	if sum >= 1<<32 {
		t.Errorf("got weights of up to %d, want less than 2^32", sum)
	}
	plain := &ir.Fleet{Clusters: []*ir.Cluster{{Endpoints: []ir.Endpoint{fixed("10.0.0.9:80", 0, 1)}}}}
	if Expand(plain, nil) != plain {
		t.Error("got another fleet where there is nothing to look up")
	}
}

// Zones, draining and the like are those of the document's endpoint.
func TestExpandKeeps(t *testing.T) {
	e := ir.Endpoint{Address: ir.Address{Records: "one"}, Weight: 1, Zone: "east", Drain: true}
	f := &ir.Fleet{Clusters: []*ir.Cluster{{SRV: &ir.DNS{}, Endpoints: []ir.Endpoint{e}}}}
	got := Expand(f, func(*ir.DNS, string) []Server { return []Server{server("a", "10.0.0.1:80", 0, 4)} }).Clusters[0].Endpoints[0]
	want := ir.Endpoint{Address: ir.Address{AddrPort: netip.MustParseAddrPort("10.0.0.1:80")}, Weight: 4, Zone: "east", Drain: true}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
