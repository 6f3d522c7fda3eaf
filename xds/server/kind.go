package server

import (
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// gone is the target of a removal: a resource that says that there is none.
var gone = &snapshot.Resource{}

// entry is what one client has of one resource, as far as it can be known. The zero value is: nothing.
type entry struct {
	// acked is what it last accepted; nil if nothing, or if it accepted the removal.
	acked *snapshot.Resource
	// sent is what it was last sent, in flight or accepted; gone if that was the removal; nil after a NACK, since then
	// nobody knows whether a part of the response took effect.
	sent *snapshot.Resource
	// parked is what it refused (gone: a removal): not sent again until something of its response changes (rule 3).
	parked *snapshot.Resource
	// why it was refused; of no meaning while parked is nil.
	why *refusal
	// maybe are the refused ones that it may use all the same, since clients apply the good part of a response.
	maybe []*snapshot.Resource
	// doubtful: its removal was refused, or nobody knows what became of it, so that acked may be history.
	doubtful bool
}

// maxMaybe bounds entry.maybe against a client that refuses everything for ever.
const maxMaybe = 8

// void reports that the client has nothing of the resource.
func (e *entry) void() bool {
	return e.acked == nil && (e.sent == nil || e.sent == gone) && len(e.maybe) == 0
}

// flight is a response that was neither accepted nor refused yet.
type flight struct {
	nonce   string
	at      time.Time
	version string // aggregate version of the snapshot's set
	whole   bool   // nothing of that version was left to be sent after it
	items   []item
	all     *snapshot.Set // these instead of items: see bulk.go
	removes bool          // some of the items
	// stands are the names of which it has not what is wanted, but what the client may be using in the meantime.
	stands map[string]bool
}

type item struct {
	name string
	res  *snapshot.Resource
}

// kind is one stream's state of one resource type. Everything in it ends with the stream. Only the run loop touches it.
//
// What the client has of a name is entries[name] or, if there is none, what base has of it: so that a settled
// stream costs no memory per resource beyond its names.
type kind struct {
	resource.Type
	served    bool // Sluice has this type; else its set is for ever empty
	requested bool // there was a request
	sub       subscription
	claimed   int           // bytes of what the client said at first that it has
	set       *snapshot.Set // the wanted state; nil before there is a snapshot
	base      *snapshot.Set
	fresh     bool          // see bulk.go
	coming    *snapshot.Set // see bulk.go
	entries   map[string]*entry
	// todo are the names to look at: their target or their subscription changed. True: to be sent even if the client
	// is known to have it, since it asked, or since what refers to it changed (rules 5 and 13).
	todo map[string]bool
	// owed are names that something sent refers to, and that are to be sent as soon as they are subscribed.
	owed      map[string]struct{}
	owedAll   bool      // all names are owed to a client that did not ask for any yet
	owedUntil time.Time // how long the client may take to subscribe to them before that is no longer waited for
	// answer: a response is due even if it is empty.
	answer bool
	// restored: the client has something from an earlier stream. unknown: and of a full state nobody knows what, until
	// it accepts another.
	restored, unknown bool
	nonce             string // the latest; "" before the first response
	flight            []*flight
	// doubts are the refused responses: each the names of those of its resources that the refusal may be about.
	doubts []map[string]struct{}
	failed bool // the last verdict on the current version was a NACK

	sentVersion, ackedVersion, withheldVersion string // as told to the observer
}

func newKind(t resource.Type, served bool) *kind {
	k := &kind{
		Type: t, served: served,
		entries: map[string]*entry{}, todo: map[string]bool{}, owed: map[string]struct{}{},
	}
	k.sub.intern = func(name string) string { // streams share the names of the resources
		if r := k.set.Get(name); r != nil {
			return r.Name
		}
		return name
	}
	return k
}

// room makes the maps of a size for so many names, if they are empty.
func (k *kind) room(n int) {
	if n == 0 {
		return
	}
	if len(k.entries) == 0 {
		k.entries = make(map[string]*entry, n)
	}
	if len(k.todo) == 0 {
		k.todo = make(map[string]bool, n)
	}
}

// listed are the names on the list, sorted.
func (k *kind) listed() []string {
	names := make([]string, 0, len(k.todo))
	if len(k.todo) < k.set.Len()/2 {
		for name := range k.todo {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	// Most of the set, which is sorted.
	for _, r := range k.set.All() {
		if _, ok := k.todo[r.Name]; ok {
			names = append(names, r.Name)
		}
	}
	if len(names) < len(k.todo) {
		for name := range k.todo {
			if k.target(name) == nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	return names
}

// target is what the client should have of a name: nil for nothing.
func (k *kind) target(name string) *snapshot.Resource {
	return k.set.Get(name)
}

// peek is what the client has of a name.
func (k *kind) peek(name string) entry {
	if e := k.entries[name]; e != nil {
		return *e
	}
	if r := k.base.Get(name); r != nil && k.sub.has(name) {
		return entry{acked: r, sent: r}
	}
	if r := k.coming.Get(name); r != nil && k.sub.has(name) {
		return entry{sent: r}
	}
	return entry{}
}

// entry is peek, to be changed.
func (k *kind) entry(name string) *entry {
	e := k.entries[name]
	if e == nil {
		is := k.peek(name)
		e = &is
		k.entries[name] = e
	}
	return e
}

// held calls f for every version of every resource that the client may be using.
func (k *kind) held(f func(r *snapshot.Resource)) {
	use := func(r *snapshot.Resource) {
		if r != nil && r != gone {
			f(r)
		}
	}
	if k.unknown {
		f(snapshot.Claimed("", ""))
	}
	if k.base != nil {
		for _, r := range k.base.All() {
			if k.entries[r.Name] == nil && k.sub.has(r.Name) {
				use(r)
			}
		}
	}
	for _, e := range k.entries {
		use(e.acked)
		if e.sent != e.acked {
			use(e.sent)
		}
		for _, r := range e.maybe {
			use(r)
		}
	}
	for _, fl := range k.flight {
		if fl.all != nil {
			for _, r := range fl.all.All() {
				use(r)
			}
		}
		for _, it := range fl.items {
			use(it.res) // though it be unsubscribed: by the time it comes the client may want it again
		}
	}
}

// leaving reports whether a removal of the name is in flight.
func (k *kind) leaving(name string) bool {
	for _, fl := range k.flight {
		if fl.removes && slices.Contains(fl.items, item{name, gone}) {
			return true
		}
	}
	return false
}

// unfold gives every covered name of base an entry, so that the subscription can be widened.
func (k *kind) unfold() {
	k.single()
	if k.base == nil {
		return
	}
	for _, r := range k.base.All() {
		k.entry(r.Name)
	}
	k.base = nil
}

// fold lets go of the entries that say no more than that the client has what it should have.
func (k *kind) fold() {
	k.sub.share()
	if len(k.entries) == 0 && k.base == k.set {
		return
	}
	for name, e := range k.entries {
		t := k.target(name)
		sent := e.sent == t || t == nil && e.sent == gone
		if e.acked == t && sent && e.parked == nil && len(e.maybe) == 0 && !e.doubtful {
			delete(k.entries, name)
		}
	}
	k.base = k.set // what it says about a name that had no entry stays true: such names did not change since
	if len(k.entries) == 0 {
		k.entries = map[string]*entry{}
		k.todo = map[string]bool{}
		if len(k.owed) == 0 {
			k.owed = map[string]struct{}{}
		}
	}
}

// adopt takes another wanted state.
func (k *kind) adopt(set *snapshot.Set) {
	if set == k.set {
		return
	}
	if k.fresh {
		k.single()
	}
	old := k.set
	k.set = set
	if !k.requested {
		return
	}
	k.failed = false
	moved := map[string]struct{}{}
	for _, name := range set.Changed(old) {
		if k.sub.has(name) {
			k.entry(name)
			k.list(name)
			moved[name] = struct{}{}
		}
	}
	if old == nil {
		for name := range k.entries {
			k.list(name)
		}
	}
	k.dissolve(func(name string) bool { _, ok := moved[name]; return ok })
}

// list puts a name on the list; one that is due stays due.
func (k *kind) list(name string) {
	if _, ok := k.todo[name]; !ok {
		k.todo[name] = false
	}
}

// dissolve ends the doubt about every refused response of which some name changed: whatever was refused with it may
// have been innocent, and is tried again along with the change.
func (k *kind) dissolve(changed func(name string) bool) {
	kept := k.doubts[:0]
	for _, names := range k.doubts {
		hit := false
		for name := range names {
			hit = hit || changed(name)
		}
		if !hit {
			kept = append(kept, names)
			continue
		}
		for name := range names {
			if e := k.entries[name]; e != nil && e.parked != nil {
				e.parked = nil
				k.list(name)
			}
		}
	}
	clear(k.doubts[len(kept):])
	k.doubts = kept
}

// forget drops what is no longer covered by the subscription.
func (k *kind) forget() {
	k.dissolve(func(name string) bool { return !k.sub.has(name) })
	for name := range k.entries {
		if !k.sub.has(name) {
			delete(k.entries, name)
		}
	}
	for name := range k.todo {
		if !k.sub.has(name) {
			delete(k.todo, name)
		}
	}
	k.answer = k.answer && !k.sub.empty()
}

// complete reports whether the client has accepted all that it should have.
func (k *kind) complete() bool {
	return k.requested && k.set != nil && !k.answer && !k.failed &&
		k.idle() && len(k.flight) == 0 && len(k.doubts) == 0
}

// withheld reports whether nothing more comes of a version, though the client has not accepted all of it.
func (k *kind) withheld() bool {
	return k.requested && k.set != nil && !k.answer && k.idle() && len(k.flight) == 0 && (k.failed || len(k.doubts) > 0)
}
