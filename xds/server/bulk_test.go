package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/protobuf/proto"
)

func fresh(s *snapshot.Snapshot, isDelta bool) *state {
	st := newState(config{delta: isDelta, maxNames: 1 << 20, now: time.Now, patience: time.Minute, unserved: func(string) {}})
	st.adopt(s)
	return st
}

func namesOf(s *snapshot.Set) (names []string) {
	for _, r := range s.All() {
		names = append(names, r.Name)
	}
	return names
}

// TestFreshClient: a client that connects costs nothing for each name while it gets all that there is.
func TestFreshClient(t *testing.T) {
	for _, isDelta := range []bool{false, true} {
		t.Run(fmt.Sprintf("delta=%v", isDelta), func(t *testing.T) {
			s := manyClusters(t, 10, 0, nil)
			st := fresh(s, isDelta)
			none := func(when string) {
				t.Helper()
				for _, k := range st.kinds {
					if n := len(k.entries) + len(k.todo) + len(k.owed) + len(k.sub.names); n > 0 {
						t.Fatalf("%s: %s: got something of %d names, want nothing", when, k.Short, n)
					}
				}
			}
			for _, names := range [][]string{nil, namesOf(s.Set(eds))} {
				req := &request{typeURL: cds}
				if names != nil {
					req = &request{typeURL: eds, subscribe: names, names: names}
				}
				if err := st.handle(req); err != nil {
					t.Fatal(err)
				}
				none("asked")
				m := st.next()
				if m == nil || m.typeURL != req.typeURL || m.all != s.Set(m.typeURL) || len(m.resources) != 10 {
					t.Fatalf("got %+v, want all of %s", m, req.typeURL)
				}
				none("sent")
				if err := st.handle(&request{typeURL: m.typeURL, nonce: m.nonce, version: m.version, names: names}); err != nil {
					t.Fatal(err)
				}
				none("accepted")
				st.settle()
				if k := st.of(m.typeURL); k.base != s.Set(m.typeURL) {
					t.Errorf("%s: got another base than what was accepted", m.typeURL)
				}
			}
			if m := st.next(); m != nil {
				t.Errorf("got %+v, want nothing more", m)
			}
		})
	}
}

// TestStays: what is said to change nothing does not.
func TestStays(t *testing.T) {
	for _, test := range []struct {
		legacy bool
		lists  [][]string
		stays  bool
	}{
		{true, [][]string{nil, nil}, true},
		{true, [][]string{{"*"}, nil}, false},
		{true, [][]string{{"a", "b"}, {"b", "a"}}, true},
		{true, [][]string{{"a", "b"}, nil}, false},
		{true, [][]string{{"a", "b"}, {"a", "b", "*"}}, false},
		{false, [][]string{{"a", "b"}, {"a", "c"}}, false},
	} {
		var s subscription
		for i, names := range test.lists {
			if last := i == len(test.lists)-1; last && s.stays(names) != test.stays {
				t.Errorf("%v: got it stays %v, want %v", test.lists, !test.stays, test.stays)
			}
			s.set(names, test.legacy)
		}
	}
}

// TestFreshClientRefuses: what it refuses is in doubt name by name.
func TestFreshClientRefuses(t *testing.T) {
	s := manyClusters(t, 10, 0, nil)
	st := fresh(s, true)
	_ = st.handle(&request{typeURL: cds})
	m := st.next()
	_ = st.handle(&request{typeURL: cds, nonce: m.nonce, refused: text("no")})
	if m := st.next(); m != nil {
		t.Fatalf("got %+v, want no hot loop", m)
	}
	st.adopt(manyClusters(t, 10, 1, s))
	if m := st.next(); m == nil || len(m.resources) != 10 {
		t.Errorf("got %+v, want all that was in doubt once one of it is another", m)
	}
}

// TestFreshClientOfMuch: what does not fit into one response comes in several.
func TestFreshClientOfMuch(t *testing.T) {
	all := map[string]map[string]proto.Message{eds: {}}
	for i := range 3 {
		name := fmt.Sprint("much-", i)
		all[eds][name] = &endpointpb.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointpb.LocalityLbEndpoints{
			{Locality: &corepb.Locality{Zone: string(make([]byte, maxMessage*2/3))}},
		}}
	}
	s, err := snapshot.Build(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	st := fresh(s, true)
	_ = st.handle(&request{typeURL: eds, subscribe: namesOf(s.Set(eds))})
	for i := range 3 {
		if m := st.next(); m == nil || len(m.resources) != 1 {
			t.Fatalf("response %d: got %+v, want one resource", i, m)
		}
	}
}

// TestFreshClientOwed: clusters came, and their endpoints are owed, though the client says that it has them, and though it asks
// for some of them later (rule 13).
func TestFreshClientOwed(t *testing.T) {
	s := manyClusters(t, 3, 0, nil)
	st := fresh(s, true)
	_ = st.handle(&request{typeURL: cds})
	st.next()
	has := s.Set(eds).Get("cluster-1")
	_ = st.handle(&request{typeURL: eds, subscribe: []string{has.Name}, initial: map[string]string{has.Name: has.Version}})
	if m := st.next(); m == nil || len(m.resources) != 1 {
		t.Fatalf("got %+v, want the endpoints that it says it has", m)
	}
	if k := st.of(eds); len(k.owed) != 2 || k.owedAll {
		t.Errorf("got %v owed, want those that it did not ask for yet", k.owed)
	}
}

// TestFreshClientResumes: a client that comes back and has all that there is costs nothing for each name; one that lacks
// something, or has another version of it, gets that.
func TestFreshClientResumes(t *testing.T) {
	s := manyClusters(t, 5, 0, nil)
	for name, test := range map[string]struct {
		change func(initial map[string]string)
		names  []string // to be sent
		none   bool
	}{
		"all":     {change: func(map[string]string) {}, none: true},
		"older":   {change: func(m map[string]string) { m["cluster-3"] = "old" }, names: []string{"cluster-3"}},
		"lacking": {change: func(m map[string]string) { delete(m, "cluster-2") }, names: []string{"cluster-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			st := fresh(s, true)
			for _, typeURL := range []string{cds, eds} {
				initial := map[string]string{}
				for _, r := range s.Set(typeURL).All() {
					initial[r.Name] = r.Version
				}
				if test.change(initial); typeURL == eds && !test.none {
					break // clusters are enough
				}
				req := &request{typeURL: typeURL, initial: initial}
				if typeURL == eds {
					req.subscribe = namesOf(s.Set(eds))
				}
				if err := st.handle(req); err != nil {
					t.Fatal(err)
				}
				k := st.of(typeURL)
				if entries := len(k.entries); (entries == 0) != test.none || !k.restored {
					t.Errorf("got %d entries, want none: %v", entries, test.none)
				}
			}
			var sent []string
			if m := st.next(); m != nil {
				for _, r := range m.resources {
					sent = append(sent, r.Name)
				}
			}
			if !slices.Equal(sent, test.names) {
				t.Errorf("got %v sent, want %v", sent, test.names)
			}
		})
	}
}
