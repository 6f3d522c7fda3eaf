package quarantine

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deaf is an observer that does nothing.
type deaf struct{}

func (deaf) StreamOpened(server.StreamID, string)           {}
func (deaf) StreamClosed(server.StreamID)                   {}
func (deaf) Node(server.StreamID, server.Node)              {}
func (deaf) Sent(server.StreamID, string, string)           {}
func (deaf) Acked(server.StreamID, string, string)          {}
func (deaf) Nacked(server.StreamID, string, string, string) {}

// typeOf is which type a document's resource is of here.
var typeOf = map[string]string{"Service": resource.ClusterType, "Gateway": resource.ListenerType, "Route": resource.RouteType}

// model is a control plane without xDS: files, a fleet, and proxies that refuse what they are told to.
type model struct {
	t       *testing.T
	room    *Room
	files   map[definition.Ref]*definition.Document
	served  map[definition.Ref]*definition.Document
	proxies map[server.StreamID]*player
	last    map[string]Type
	next    server.StreamID
	pushes  int
	// needs are documents without which others are not served.
	needs map[definition.Ref]definition.Ref
	// vanishes: a fleet without a Gateway is no fleet.
	vanishes bool
	// id is who joins; "" is a new one each time.
	id string
	// asked is when the room asked for a publication.
	asked []time.Time
	// kept is what a publication says, so that an unchanged one is the very same.
	kept []*definition.Document
}

// player is a proxy.
type player struct {
	class string
	// refuses says which of the served documents of a type it refuses, and in which words.
	refuses func(served map[definition.Ref]*definition.Document, typeURL string) string
	has     map[string]string
	refused int
	mute    bool // it says nothing yet
}

func doc(kind, name, hash string) *definition.Document {
	return &definition.Document{Ref: definition.Ref{Kind: kind, Name: name}, Hash: hash, Position: definition.Position{File: "a.yaml", Line: 1}}
}

func newModel(t *testing.T, accepted map[definition.Ref]*definition.Document, kept []store.Quarantined) *model {
	return &model{
		t: t, room: New(Options{Next: deaf{}, Accepted: accepted, Kept: kept, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}), files: map[definition.Ref]*definition.Document{},
		proxies: map[server.StreamID]*player{}, needs: map[definition.Ref]definition.Ref{},
	}
}

func (m *model) put(documents ...*definition.Document) {
	for _, d := range documents {
		m.files[d.Ref] = d
	}
}

// build is what the control plane does with the files.
func (m *model) build() {
	holds, seq := m.room.Holds()
	inForce := map[definition.Ref]bool{}
	m.served = map[definition.Ref]*definition.Document{}
	for ref, d := range m.files {
		h, held := holds[ref]
		switch {
		case !held || h.Hash != d.Hash:
			m.served[ref] = d
		case h.Instead != nil:
			m.served[ref], inForce[ref] = h.Instead, true
		default:
			inForce[ref] = true
		}
	}
	for ref, h := range holds {
		if m.files[ref] == nil && h.Hash == "" && h.Instead != nil {
			m.served[ref], inForce[ref] = h.Instead, true
		}
	}
	for ref, need := range m.needs {
		if m.served[need] == nil {
			delete(m.served, ref)
		}
	}
	fleet := &ir.Fleet{Name: "edge", RouteTables: []*ir.RouteTable{{Name: "web/http"}}}
	var documents []*definition.Document
	words := map[string][]string{}
	for _, d := range m.served {
		documents = append(documents, d)
	}
	slices.SortFunc(documents, func(a, b *definition.Document) int { return definition.CompareRefs(a.Ref, b.Ref) })
	if slices.Equal(documents, m.kept) {
		documents = m.kept
	}
	m.kept = documents
	for _, d := range documents {
		words[typeOf[d.Ref.Kind]] = append(words[typeOf[d.Ref.Kind]], d.Ref.Name+d.Hash)
		switch d.Ref.Kind {
		case "Service":
			fleet.Clusters = append(fleet.Clusters, &ir.Cluster{Name: d.Ref.Name})
		case "Gateway":
			fleet.Listeners = append(fleet.Listeners, ir.Listener{Name: d.Ref.Name + ":80", Chains: []ir.FilterChain{{Name: d.Ref.Name + "/http"}}})
		case "Route":
			fleet.RouteTables[0].Hosts = append(fleet.RouteTables[0].Hosts, &ir.VirtualHost{Name: d.Ref.Name, Rules: []ir.Rule{{ID: d.Ref.String() + "#1"}}})
		}
	}
	none := m.vanishes && len(words[resource.ListenerType]) == 0
	if none {
		clear(words)
	}
	types, nothing := map[string]Type{}, map[string]Type{}
	for _, t := range resource.PushOrder {
		types[t.URL] = Type{Version: fmt.Sprint("v", strings.Join(words[t.URL], ",")), Resources: len(words[t.URL])}
		nothing[t.URL] = Type{Version: "v"}
	}
	if !sameVersions(map[string]Fleet{"edge": {Types: m.last}}, map[string]Fleet{"edge": {Types: types}}) {
		m.pushes++
	}
	m.last = types
	fleets := map[string]Fleet{"edge": {Types: types, Made: fleet}}
	if none {
		fleets = map[string]Fleet{}
	}
	m.room.Published(Publication{Seq: seq, Documents: documents, Held: inForce, Fleets: fleets, Nothing: nothing})
	for _, id := range slices.Sorted(maps.Keys(m.proxies)) {
		m.answer(id)
	}
}

// answer sends a proxy what it has not yet, and passes on what it says.
func (m *model) answer(id server.StreamID) {
	p := m.proxies[id]
	if p.mute {
		return
	}
	for _, t := range resource.PushOrder {
		now := m.last[t.URL]
		if now.Resources == 0 && t.URL != resource.ClusterType && t.URL != resource.ListenerType && p.has[t.URL] == "" || p.has[t.URL] == now.Version {
			continue
		}
		p.has[t.URL] = now.Version
		if text := p.refuses(m.served, t.URL); text != "" {
			p.refused++
			m.room.Nacked(id, t.URL, now.Version, text)
		} else {
			m.room.Acked(id, t.URL, now.Version)
		}
	}
}

func (m *model) join(p *player) server.StreamID {
	m.next++
	p.has = map[string]string{}
	m.proxies[m.next] = p
	m.room.StreamOpened(m.next, "")
	m.room.Node(m.next, server.Node{ID: cmp.Or(m.id, fmt.Sprint("p", m.next)), Cluster: "edge", Agent: p.class})
	m.answer(m.next)
	return m.next
}

func (m *model) leave(id server.StreamID) {
	delete(m.proxies, id)
	m.room.StreamClosed(id)
}

// run builds whenever it is asked to, for some time.
func (m *model) run(d time.Duration) {
	end := time.After(d)
	for {
		select {
		case <-m.room.Changed():
			m.asked = append(m.asked, time.Now())
			m.build()
		case <-end:
			return
		}
	}
}

func (m *model) held() []string {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	var out []string
	for _, ref := range sortedVerdicts(m.room.verdicts) {
		out = append(out, ref.String()+"@"+m.room.verdicts[ref].Hash)
	}
	return out
}

// refusing makes a proxy that refuses versions, and sets of versions that stand together; says is how it puts it.
func refusing(class string, bad [][]version, says func(bad version) string) *player {
	return &player{class: class, refuses: func(served map[definition.Ref]*definition.Document, typeURL string) string {
		for _, set := range bad {
			all := typeOf[set[0].Ref.Kind] == typeURL
			for _, v := range set {
				all = all && served[v.Ref] != nil && served[v.Ref].Hash == v.Hash
			}
			if all {
				return says(set[0])
			}
		}
		return ""
	}}
}

func fine(class string) *player {
	return &player{class: class, refuses: func(map[definition.Ref]*definition.Document, string) string { return "" }}
}

// TestFound: whatever is bad among many is found, in no more publications than halving takes, and nothing else is held back.
func TestFound(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := newModel(t, nil, nil)
			defer m.room.Close()
			n := 1 + rnd.IntN(100)
			warm := rnd.IntN(2) == 0
			var fresh []version
			for i := range n {
				for _, kind := range []string{"Service", "Route", "Gateway"} {
					if kind == "Gateway" && i%7 != 0 {
						continue
					}
					d := doc(kind, fmt.Sprintf("%s%d", strings.ToLower(kind[:1]), i), "1")
					m.put(d)
					if kind == "Route" {
						m.needs[d.Ref] = definition.Ref{Kind: "Service", Name: fmt.Sprint("s", i)}
					}
				}
			}
			var bad [][]version
			alone := map[version]bool{}
			says := []func(version) string{
				func(v version) string { return "Error adding/updating cluster(s) " + v.Ref.Name + ": no" },
				func(version) string { return "something is wrong" },
				func(version) string { return "listener s0, r0, r1: that is misleading" },
			}[rnd.IntN(3)]
			player1 := refusing("envoy", nil, says)
			if warm {
				m.join(player1)
				m.build()
				m.run(time.Second)
				if m.room.Count() > 0 {
					t.Fatalf("seed %d: got %v, want nothing held back", seed, m.held())
				}
				for ref := range m.files {
					if rnd.IntN(2) == 0 {
						m.put(doc(ref.Kind, ref.Name, "2"))
					}
				}
			}
			for _, d := range m.files {
				if !warm || d.Hash == "2" {
					fresh = append(fresh, version{d.Ref, d.Hash})
				}
			}
			slices.SortFunc(fresh, func(a, b version) int { return definition.CompareRefs(a.Ref, b.Ref) })
			rnd.Shuffle(len(fresh), func(i, j int) { fresh[i], fresh[j] = fresh[j], fresh[i] })
			single, pairs := rnd.IntN(6), rnd.IntN(3)
			for range min(single, len(fresh)) {
				bad = append(bad, fresh[:1])
				alone[fresh[0]] = true
				fresh = fresh[1:]
			}
			for range pairs {
				if len(fresh) < 2 || fresh[0].Ref.Kind != fresh[1].Ref.Kind { // else the one does not make the other anew
					break
				}
				bad = append(bad, fresh[:2])
				fresh = fresh[2:]
			}
			player1.refuses = refusing("", bad, says).refuses
			pushes := m.pushes
			if !warm {
				m.join(player1)
				if rnd.IntN(2) == 0 {
					m.join(refusing("envoy", bad, says))
				}
				if rnd.IntN(2) == 0 {
					m.join(fine("sluice-proxy"))
				}
			}
			m.build()
			m.run(20 * time.Minute)

			got := m.held()
			for v := range alone {
				if !slices.Contains(got, v.Ref.String()+"@"+v.Hash) && m.served[v.Ref] != nil && m.served[v.Ref].Hash == v.Hash {
					t.Errorf("seed %d: %v is bad, and served", seed, v)
				}
			}
			most := len(bad)
			for _, set := range bad {
				if len(set) == 2 && m.served[set[0].Ref] != nil && m.served[set[1].Ref] != nil && m.served[set[0].Ref].Hash == set[0].Hash && m.served[set[1].Ref].Hash == set[1].Hash {
					t.Errorf("seed %d: %v stand together", seed, set)
				}
			}
			for _, text := range got {
				if !slices.ContainsFunc(bad, func(set []version) bool {
					return slices.ContainsFunc(set, func(v version) bool { return v.Ref.String()+"@"+v.Hash == text })
				}) {
					t.Errorf("seed %d: %s is good, and held back; bad are %v", seed, text, bad)
				}
			}
			for ref, d := range m.files {
				need, needs := m.needs[ref]
				if m.served[ref] != d && !slices.Contains(got, ref.String()+"@"+d.Hash) && !(needs && m.served[need] == nil) {
					t.Errorf("seed %d: %v is not served", seed, ref)
				}
			}
			if j, _ := m.room.judge("edge", time.Now(), false); j != accepted {
				t.Errorf("seed %d: got %v in the end, want everything accepted", seed, j)
			}
			// Each bad one: the search, the publication without it, and hearings.
			bound := 2 + most*(bits.Len(uint(len(m.files)))+maxNamed+8)
			if m.pushes-pushes > bound {
				t.Errorf("seed %d: got %d publications for %d bad of %d documents, want %d at most", seed, m.pushes-pushes, most, len(m.files), bound)
			}
			if most == 0 && m.pushes-pushes > 1 {
				t.Errorf("seed %d: got %d publications though nothing is bad", seed, m.pushes-pushes)
			}
		})
		if t.Failed() {
			return
		}
	}
}
