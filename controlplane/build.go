package controlplane

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/admin"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/holdback"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/controlplane/quarantine"
	"github.com/sluice-proxy/sluice/controlplane/revision"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/srv"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// rebuildEvery is how often everything is looked at again though no file changed: certificates expire by themselves, and
// session ticket keys rotate.
const rebuildEvery = time.Hour

// builder takes each set of files to the proxies.
type builder struct {
	// Read-only.
	log       *slog.Logger
	documents *store.Store
	snapshots *snapshot.Cache
	proxies   *status.Tracker
	metrics   *admin.Metrics
	explain   func(*compile.Output, *adminv1.ExplainRequest) ([]byte, error)
	names     *srv.Resolver
	history   *revision.History
	gate      *holdback.Gate

	quarantine *quarantine.Room

	latest    atomic.Pointer[store.Result]     // what is served, for who asks
	published atomic.Pointer[map[string]built] // previous, for who asks

	// Only the run goroutine.
	files       store.Files
	result      *store.Result    // as it was compiled
	previous    map[string]built // by fleet
	told        store.ProblemLog
	holds       uint64 // those that result was made with
	waiting     bool   // it was logged that there is nothing to serve
	saveFailing bool
}

// built is a fleet as it was published.
type built struct {
	snapshot    *snapshot.Snapshot
	translation *translate.Translation // that the snapshot was made of; nil if there is none
	err         string                 // why the newest could not be; "" is fine
}

// run builds whenever the files change. tried is called after the first build.
func (b *builder) run(ctx context.Context, watcher *source.Watcher, tried func()) error {
	again := time.NewTicker(rebuildEvery)
	defer again.Stop()
	var files []source.File
	for {
		first, edited := b.result == nil, true
		select {
		case files = <-watcher.Updates():
		case <-again.C:
		case <-b.history.Changed():
		case <-b.quarantine.Changed():
		case <-b.quarantine.News():
			b.save()
			continue
		case <-b.names.Changed():
			edited = false
		case <-b.gate.Room.Changed():
			if first {
				continue // there is nothing yet, and what comes will be judged
			}
		case <-ctx.Done():
			return nil
		}
		if !b.build(files, edited) {
			continue
		}
		watcher.SetExtra(b.result.Files)
		b.save()
		b.history.Saved()
		if first {
			tried()
			debug.FreeOSMemory() // the first build made everything at once, and the next ones make little
		}
	}
}

// build is one build. A fault of ours must not end a control plane: it is told, what is served stays, and the next edit is
// another try. It is false if there is nothing that was ever built.
func (b *builder) build(files []source.File, edited bool) (ok bool) {
	defer func() {
		if value := recover(); value != nil {
			b.log.Error("a build came to nothing by a fault of ours: what is served stays as it is, and the next edit is another try",
				"panic", value, "stack", string(debug.Stack()))
			b.metrics.Panicked()
			ok = b.result != nil
		}
	}()
	start := time.Now()
	if edited || b.result == nil {
		set := b.history.Apply(b.files.Set(files))
		set.Held, b.holds = b.quarantine.Holds()
		b.result = b.gate.Update(set, b.running())
	}
	b.serve(start)
	if edited {
		b.history.Record()
	}
	return true
}

// serve is the walk from what was compiled to the proxies: names, Envoy's resources, snapshots.
func (b *builder) serve(start time.Time) {
	result, waiting := b.withServers(b.result)
	b.latest.Store(result)
	b.told.Tell(result.Problems)
	for _, fleet := range slices.Sorted(maps.Keys(waiting)) {
		b.log.Info("a fleet keeps what it has until there is a first word of its SRV records", "fleet", fleet)
	}
	changes := ""
	if b.publishable(result, waiting) {
		changes = b.publish(b.withTickets(result.Compiled.Fleets), waiting)
	}
	took := time.Since(start)
	kinds, severities := map[string]int{}, map[string]int{}
	for _, d := range result.Documents {
		kinds[d.Ref.Kind]++
	}
	for _, p := range result.Problems {
		severities[string(p.Severity)]++
	}
	b.metrics.Built(took, changes != "", kinds, severities)
	if changes != "" {
		b.log.Info("published", "documents", len(result.Documents), "errors", severities["error"], "warnings", severities["warning"],
			"changes", changes, "took", took.Round(10*time.Microsecond))
	}
}

// publishable: with no document at all after a start, proxies that still run what an earlier process gave them would be
// emptied. That is never meant: they wait. So they do for a first word of names.
func (b *builder) publishable(result *store.Result, waiting map[string]bool) bool {
	switch {
	case b.snapshots.Ready():
		return true
	case len(waiting) > 0:
		return false
	case len(result.Documents) > 0:
		return true
	}
	if !b.waiting {
		b.waiting = true
		b.log.Warn("there is no document that can be served: proxies wait until there is one")
	}
	return false
}

// withTickets gives the fleets that terminate TLS their session ticket keys, which are no part of what was compiled.
func (b *builder) withTickets(fleets []*ir.Fleet) []*ir.Fleet {
	var secure []string
	for _, f := range fleets {
		if len(f.Certificates) > 0 {
			secure = append(secure, f.Name)
		}
	}
	keys := b.documents.TicketKeys(secure)
	out := make([]*ir.Fleet, len(fleets))
	for i, f := range fleets {
		with := *f
		with.TicketKeys = keys[f.Name]
		out[i] = &with
	}
	return out
}

// publish hands over what changed, and says what that was; "" is nothing. A fleet that waits keeps what it has.
func (b *builder) publish(fleets []*ir.Fleet, waiting map[string]bool) string {
	next := map[string]built{}
	var changes []string
	for _, f := range fleets {
		old := b.previous[f.Name]
		if waiting[f.Name] {
			next[f.Name] = old
			continue
		}
		now := translated(f, old)
		next[f.Name] = now
		if now.err != "" && now.err != old.err {
			b.log.Error("a fleet cannot be published and keeps what it has", "fleet", f.Name, "error", now.err)
		}
		if c := snapshot.Changes(old.snapshot, now.snapshot); c != "" {
			changes = append(changes, f.Name+": "+c)
		}
	}
	for name, old := range b.previous {
		if _, ok := next[name]; !ok {
			if c := snapshot.Changes(old.snapshot, snapshot.Empty); c != "" {
				changes = append(changes, name+": "+c)
			}
		}
	}
	slices.Sort(changes)
	b.previous = next
	b.published.Store(&next)

	snapshots, published := map[string]*snapshot.Snapshot{}, map[string]map[string]status.Published{}
	for name, f := range next {
		if f.snapshot == nil {
			continue
		}
		snapshots[name], published[name] = f.snapshot, map[string]status.Published{}
		for _, t := range resource.PushOrder {
			set := f.snapshot.Set(t.URL)
			published[name][t.URL] = status.Published{Version: set.Version(), Resources: set.Len()}
		}
	}
	b.tellQuarantine(fleets, waiting, published)
	if len(changes) > 0 || !b.snapshots.Ready() {
		b.proxies.Publish(published)
		b.snapshots.SetAll(snapshots)
	}
	return strings.Join(changes, "; ")
}

// tellQuarantine says what is about to be served. Of a fleet that keeps what it has it tells no versions: what its proxies
// answer is not about these documents.
func (b *builder) tellQuarantine(fleets []*ir.Fleet, waiting map[string]bool, published map[string]map[string]status.Published) {
	p := quarantine.Publication{Seq: b.holds, Documents: b.result.Documents, Held: b.result.Held, Fleets: map[string]quarantine.Fleet{}, Nothing: map[string]quarantine.Type{}}
	for _, t := range resource.PushOrder {
		p.Nothing[t.URL] = quarantine.Type{Version: snapshot.Empty.Set(t.URL).Version()}
	}
	for _, f := range fleets {
		if waiting[f.Name] || b.previous[f.Name].err != "" {
			p.Fleets[f.Name] = quarantine.Fleet{Made: f}
			continue
		}
		types := map[string]quarantine.Type{}
		for url, t := range published[f.Name] {
			types[url] = quarantine.Type{Version: t.Version, Resources: t.Resources}
		}
		p.Fleets[f.Name] = quarantine.Fleet{Types: types, Made: f}
	}
	b.quarantine.Published(p)
}

// translated makes a fleet's snapshot; an unchanged fleet keeps the very same.
func translated(f *ir.Fleet, old built) built {
	translation := translate.FleetEntries(f, old.translation)
	s, err := snapshot.BuildEntries(translation.Entries, old.snapshot)
	if err != nil {
		return built{snapshot: old.snapshot, translation: old.translation, err: err.Error()}
	}
	return built{snapshot: s, translation: translation}
}

// running is what was published, by fleet.
func (b *builder) running() map[string]*snapshot.Snapshot {
	out := map[string]*snapshot.Snapshot{}
	for name, f := range b.previous {
		out[name] = f.snapshot
	}
	return out
}

// tried is what some fleets would get, but for the servers that SRV records name.
func (b *builder) tried(result *store.Result, fleets []string) map[string]*snapshot.Snapshot {
	out := map[string]*snapshot.Snapshot{}
	for _, f := range b.withTickets(result.Compiled.Fleets) {
		if slices.Contains(fleets, f.Name) {
			out[f.Name] = translated(f, b.previous[f.Name]).snapshot
		}
	}
	return out
}

// save keeps what was accepted. It comes after the publishing, which does not wait for a disk.
func (b *builder) save() {
	b.documents.KeepAnswers(b.names.Keep())
	b.history.Keep()
	b.documents.KeepQuarantine(b.quarantine.Keep())
	err := errors.Join(b.documents.KeepAbilities(b.gate.Room.Keep()), b.documents.Save())
	if err != nil && !b.saveFailing {
		b.log.Error("the state cannot be kept: a restart now would not know the last good versions", "error", err)
	}
	b.saveFailing = err != nil
}

// problems are those of the documents now.
func (b *builder) problems() []store.Problem {
	if r := b.latest.Load(); r != nil {
		return r.Problems
	}
	return nil
}

// served is what is served now; nil before the first build.
func (b *builder) served() *served.Served {
	result, published := b.latest.Load(), b.published.Load()
	if result == nil {
		return nil
	}
	s := &served.Served{Result: result, Fleets: map[string]served.Fleet{}}
	if published != nil {
		for name, f := range *published {
			s.Fleets[name] = served.Fleet{Snapshot: f.snapshot}
		}
	}
	for _, f := range result.Compiled.Fleets {
		s.Fleets[f.Name] = served.Fleet{IR: f, Snapshot: s.Fleets[f.Name].Snapshot}
	}
	return s
}

// origins are the documents of a resource that is served.
func (b *builder) origins(fleet, typeURL, name string) []provenance.Origin {
	if r := b.latest.Load(); r != nil {
		return provenance.Find(r.Compiled, fleet, typeURL, name)
	}
	return nil
}

// explainRequest asks about what is served.
func (b *builder) explainRequest(_ context.Context, request *adminv1.ExplainRequest) ([]byte, error) {
	r := b.latest.Load()
	switch {
	case b.explain == nil:
		return nil, grpcstatus.Error(codes.Unimplemented, "this control plane cannot explain")
	case r == nil:
		return nil, grpcstatus.Error(codes.Unavailable, "the first build is not done")
	}
	return b.explain(r.Compiled, request)
}
