package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// texts are what the files of TestTwin hold: good and bad, with names in common.
var texts = []string{
	web, shop, api, apiTwo, apiBad, apiOff, nameless, shopLost, shopHTTP, webMoved, late, half, halfToo, halfNone, halves, other, spare, lost, "",
	"{kind: Service, name: shop, hosts: [shop.test], gateways: [web], endpoints: [127.0.0.1:9]}\n",
	"{kind: Service, name: shop, hosts: [shop.test], gateways: [nope], endpoints: [127.0.0.1:9]}\n",
	"{kind: Service, name: shop, endpoints: [127.0.0.1:9]}\n",
	"{kind: Service, name: pub, hosts: [a.test, '*.test'], gateways: [web, other], endpoints: [127.0.0.1:9], tls: {insecureSkipVerify: true}}\n",
	"{kind: Service, name: pub, hosts: [a.test], gateways: [web], endpoints: [127.0.0.1:9], tls: {insecureSkipVerify: true, serverName: x.test}}\n",
	"{kind: Service, name: api, hosts: [b.test], gateways: [other], endpoints: [127.0.0.1:1]}\n",
	"kind: Route\nname: r2\ngateways: [web, other/http]\nhosts: [a.test, '*']\nrules: [{backends: [{service: api}]}, {match: {path: {prefix: /x}}, respond: {status: 200}}]\n",
	"kind: Route\nname: r2\ngateways: [web]\nhosts: [shop.test]\npriority: 3\nrules: [{match: {path: {prefix: /x}}, backends: [{service: spare}]}]\n",
	"kind: Route\nname: r3\nrules: [{backends: [{service: api}]}]\n",
	"kind: Gateway\nname: other\nfleet: b\nlisteners: [{name: http, port: 90, protocol: HTTP, hosts: [a.test, b.test]}, {name: red, port: 91, protocol: HTTP, redirect: {scheme: https}}]\n",
	"kind: Gateway\nname: sec\nlisteners: [{name: one, port: 443, protocol: HTTPS, hosts: ['*.test'], certificates: [c]}, {name: two, port: 443, protocol: HTTPS, hosts: [a.test], certificates: [c]}, {name: tcp, port: 444, protocol: TCP, backends: [{service: spare}]}]\n" +
		"---\n{kind: Certificate, name: c, selfSigned: {hosts: ['*.test']}}\n---\nkind: Route\nname: onsec\ngateways: [sec]\nhosts: ['*.test', a.test]\nrules: [{backends: [{service: api}]}]\n",
	"kind: Gateway\nname: sec\nlisteners: [{name: one, port: 443, protocol: HTTPS, hosts: ['*.test', a.test], certificates: [c]}]\n---\n{kind: Certificate, name: c, selfSigned: {hosts: ['*.test']}}\n",
	"kind: Gateway\nname: web-a\nlisteners: [{name: http, port: 99, protocol: HTTP}]\n---\nkind: Route\nname: onweba\ngateways: [web-a, web]\nrules: [{backends: [{service: api}]}]\n",
}

// twins are a store that remembers what it made of the last set, and one that does not.
type twins struct {
	t        *testing.T
	r        *rand.Rand
	dir      string
	one, two *Store
	// What people write, and what is held back.
	files    map[string]string
	prefix   string
	versions []*definition.Document // the last ones that stood there
	held     map[definition.Ref]Held
	// What became of it, by fleet.
	snapshots    map[string]*snapshot.Snapshot
	translations map[string]*translate.Translation
}

// TestTwin: whatever was before, what is served, what is wrong, what is kept on disk and what proxies get are what a store
// that knows but the last good versions makes of the same files. They are edited, moved, spelled otherwise, broken and
// deleted at random, versions of them are held back, and the one that remembers is restarted now and then.
func TestTwin(t *testing.T) {
	for seed := range uint64(8) {
		w := &twins{
			t: t, r: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), files: map[string]string{}, held: map[definition.Ref]Held{},
			snapshots: map[string]*snapshot.Snapshot{}, translations: map[string]*translate.Translation{},
		}
		w.one, _ = open(t, w.dir)
		w.two, _ = open(t, "")
		w.two.certs = w.one.certs // what is self-signed is random
		var files Files
		for step := range 80 {
			w.edit()
			set := files.Set(w.tree().files())
			w.versions = append(w.versions, set.Documents...)
			w.versions = w.versions[max(0, len(w.versions)-60):]
			w.hold(set.Documents)
			set.Held = w.held
			w.two.memory, w.two.sorted, w.two.named, w.two.spelled = compile.Memory{}, nil, nil, false
			got, want := w.one.Update(set), w.two.Update(set)
			if diff := w.compare(got, want); diff != "" {
				t.Fatalf("seed %d, step %d: other %s: got\n%s\n%v\nwant\n%s\n%v", seed, step, diff, state(got), words(got), state(want), words(want))
			}
			w.save()
		}
		w.one.Close()
	}
}

// edit writes, moves, breaks and deletes files.
func (w *twins) edit() {
	for range w.r.IntN(3) {
		name := fmt.Sprint("f", w.r.IntN(8))
		text := texts[w.r.IntN(len(texts))]
		if text != "" && w.r.IntN(4) == 0 {
			text = "# moved\n" + text
		}
		if text != "" && w.r.IntN(4) == 0 {
			text += "---\n" + texts[w.r.IntN(len(texts))]
		}
		if w.files[name] = text; w.r.IntN(5) == 0 {
			delete(w.files, name)
		}
	}
	if w.r.IntN(15) == 0 {
		w.prefix = []string{"", "./", "x/../"}[w.r.IntN(3)]
	}
	if w.r.IntN(30) == 0 {
		clear(w.files)
	}
}

func (w *twins) tree() (out tree) {
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		out = append(out, w.prefix+name, w.files[name])
	}
	return out
}

// hold holds back a version that stands there, or a deletion.
func (w *twins) hold(documents []*definition.Document) {
	if w.r.IntN(4) > 0 {
		return
	}
	w.held = map[definition.Ref]Held{}
	if len(documents) > 0 && w.r.IntN(2) == 0 {
		d := documents[w.r.IntN(len(documents))]
		h := Held{Hash: d.Hash, Why: "no"}
		for _, v := range w.versions {
			if v.Ref == d.Ref && v.Hash != d.Hash && w.r.IntN(2) == 0 {
				h.Instead = v
			}
		}
		w.held[d.Ref] = h
	}
	if len(w.versions) > 0 && w.r.IntN(3) == 0 {
		v := w.versions[w.r.IntN(len(w.versions))]
		w.held[v.Ref] = Held{Instead: v, Why: "gone"}
	}
}

// compare says what differs; "" is nothing.
func (w *twins) compare(got, want *Result) string {
	a, b := *got.Compiled, *want.Compiled
	a.Origins, b.Origins = nil, nil
	place := func(d *definition.Document) string { return fmt.Sprint(d.Ref, d.Hash, d.Position) }
	switch {
	case !reflect.DeepEqual(a, b) || !reflect.DeepEqual(got.Compiled.Origins(), want.Compiled.Origins()):
		return "output"
	case !reflect.DeepEqual(got.Problems, want.Problems) || !slices.Equal(got.Files, want.Files) || !maps.Equal(got.Held, want.Held):
		return "problems, files or holds"
	case !slices.EqualFunc(got.Documents, want.Documents, func(a, b *definition.Document) bool { return place(a) == place(b) }):
		return "documents"
	case kept(w.one) != kept(w.two) || !maps.EqualFunc(w.one.accepted, w.two.accepted, func(a, b *definition.Document) bool { return a.Position == b.Position }):
		return "last good versions, or their places"
	}
	for _, f := range got.Compiled.Fleets {
		translation := translate.FleetEntries(f, w.translations[f.Name])
		now, err := snapshot.BuildEntries(translation.Entries, w.snapshots[f.Name])
		anew, wanted := snapshot.BuildEntries(translate.FleetEntries(f, nil).Entries, nil)
		if err != nil || wanted != nil {
			return fmt.Sprintf("snapshot: %v, %v", err, wanted)
		}
		for _, typ := range resource.PushOrder {
			if !sameSet(now.Set(typ.URL), anew.Set(typ.URL)) || !sameSet(now.Whole().Set(typ.URL), anew.Whole().Set(typ.URL)) {
				return typ.Short + " of fleet " + f.Name
			}
		}
		w.snapshots[f.Name], w.translations[f.Name] = now, translation
	}
	return ""
}

func sameSet(a, b *snapshot.Set) bool {
	return a.Version() == b.Version() && slices.EqualFunc(a.All(), b.All(), func(x, y *snapshot.Resource) bool {
		return x.Name == y.Name && x.Version == y.Version && a.Get(x.Name) == x
	})
}

// save saves, and now and then another process goes on.
func (w *twins) save() {
	if w.r.IntN(3) == 0 {
		return
	}
	if err := w.one.Save(); err != nil {
		w.t.Fatal(err)
	}
	if w.r.IntN(6) > 0 {
		return
	}
	was := w.one
	was.Close()
	w.one, _ = open(w.t, w.dir)
	if kept(w.one) != kept(was) {
		w.t.Fatalf("restarted with\n%s\nwant\n%s", kept(w.one), kept(was))
	}
	w.one.certs, w.one.sockets = was.certs, was.sockets
	w.two.accepted = maps.Clone(w.one.accepted) // as they were parsed again
}
