package assemble_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// names plays the resolver: what is known of each host.
type names struct {
	known   map[string]string
	watched []string
}

func (n *names) Watch(wanted []*config.DNS) {
	n.watched = nil
	for _, d := range wanted {
		n.watched = append(n.watched, d.Names[0].Host)
	}
	slices.Sort(n.watched)
	n.watched = slices.Compact(n.watched)
}

func (n *names) Endpoints(d *config.DNS) ([]config.Endpoint, bool) {
	known, ok := n.known[d.Names[0].Host]
	var out []config.Endpoint
	for ip := range strings.FieldsSeq(known) {
		out = append(out, config.Endpoint{Address: config.At(netip.AddrPortFrom(netip.MustParseAddr(ip), 80)), Weight: 1})
	}
	return out, ok
}

func dnsCluster(name, host string) string {
	return fmt.Sprintf(`{"name":%q,"type":"STRICT_DNS","connect_timeout":"1s","load_assignment":{"cluster_name":%q,
"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":%q,"port_value":80}}}}]}]}}`, name, name, host)
}

// resolved is what runs of a cluster's names.
func (r *rig) resolved(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || r.last.Clusters[name] == nil {
		return "no cluster"
	}
	a := r.last.Resolved[name]
	if a == nil {
		return "nothing"
	}
	var out []string
	for _, e := range a.Endpoints {
		out = append(out, e.Address.Addr().String())
	}
	return strings.Join(out, " ")
}

// TestResolved: a cluster by DNS waits for the first word of its name, and then changes with it; nothing else is applied anew.
func TestResolved(t *testing.T) {
	n := &names{known: map[string]string{}}
	r := newRig(t, func(o *assemble.Options) { o.Resolver = n })
	check := func(what, want string, watched ...string) {
		t.Helper()
		if got := r.resolved("a"); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
		if !slices.Equal(n.watched, watched) {
			t.Errorf("%s: watches %v, want %v", what, n.watched, watched)
		}
	}
	r.send(cds, dnsCluster("a", "one.test"))
	r.send(lds)
	check("before an answer", "no cluster", "one.test")
	if r.ready() {
		t.Error("ready before the first answer")
	}
	n.known["one.test"] = "10.0.0.1"
	r.Resolved()
	check("an answer", "10.0.0.1", "one.test")
	if !r.ready() {
		t.Error("not ready with all there")
	}
	r.got()
	r.Resolved()
	r.expect("")
	n.known["one.test"] = "10.0.0.1 10.0.0.2"
	r.Resolved()
	check("another", "10.0.0.1 10.0.0.2", "one.test")

	// Another name: the old one serves until the new one is known.
	r.send(cds, dnsCluster("a", "two.test"))
	check("edited", "10.0.0.1 10.0.0.2", "one.test", "two.test")
	n.known["two.test"] = "" // a failure
	r.Resolved()
	check("failed", "", "two.test")
	n.known["two.test"] = "10.0.0.3"
	r.Resolved()
	check("known", "10.0.0.3", "two.test")

	r.send(cds)
	r.Close()
	n.known["two.test"] = "10.0.0.4"
	r.got()
	r.Resolved()
	r.expect("")
}
