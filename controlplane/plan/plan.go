// Package plan says what would change if the files were others: documents, resources, proxies, and whose connections end.
//
// In: files as somebody has them, and what is served now. Out: the differences, in the words of the API, with secrets
// redacted. It runs where what is served is known: last good versions, the bytes of certificates, the answers of name
// servers, and the rules of this very version. It must not know files on disk: of what others name, it opens nothing. It
// changes nothing.
package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/holdback"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/negotiate"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/srv"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Options say where the answers come from. All are required.
type Options struct {
	// Paths are those that the control plane reads.
	Paths   []string
	Store   *store.Store
	Served  func() *served.Served // nil before the first build
	Proxies func(fleet string) []status.Proxy
	// Servers are those of an SRV name, if it is looked up already.
	Servers func(d *ir.DNS, name string) (servers []srv.Server, known bool)
	// Undone puts what was undone in the place of what stands in the files.
	Undone func(store.Set) store.Set
	// Abilities know what proxies do not support. Nil: nothing is known of any.
	Abilities *negotiate.Room
}

// Planner makes plans, one at a time: each costs as much as a build of everything. Safe for concurrent use.
type Planner struct {
	opts Options
	turn chan struct{}
}

// New makes a Planner.
func New(opts Options) *Planner { return &Planner{opts: opts, turn: make(chan struct{}, 1)} }

// Plan answers a request. Errors have a gRPC status.
func (p *Planner) Plan(ctx context.Context, request *adminv1.PlanRequest) (*adminv1.PlanResponse, error) {
	files, relatives, err := filesOf(request.GetFiles())
	if err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	materials, err := materialsOf(request.GetMaterials())
	if err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	now := p.opts.Served()
	if now == nil {
		return nil, grpcstatus.Error(codes.Unavailable, "the first build is not done")
	}
	var parse store.Files
	return p.compare(now, p.opts.Store.Preview(materials, p.spelling(relatives)), p.opts.Undone(parse.Set(files))), nil
}

// Set says what would change if what is to be served were this, of the control plane's own files.
func (p *Planner) Set(ctx context.Context, set store.Set) (*adminv1.PlanResponse, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	now := p.opts.Served()
	if now == nil {
		return nil, grpcstatus.Error(codes.Unavailable, "the first build is not done")
	}
	return p.compare(now, p.opts.Store.PreviewOwn(), set), nil
}

func (p *Planner) enter(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return grpcstatus.FromContextError(ctx.Err()).Err()
	}
}

func (p *Planner) leave() { <-p.turn }

// prospect is what would be served.
type prospect struct {
	*store.Result
	preview *store.Preview
}

// prospect is what a set would come to: what proxies do not support is held back, as it would be.
func (p *Planner) prospect(now *served.Served, preview *store.Preview, set store.Set) *prospect {
	if p.opts.Abilities == nil {
		return &prospect{preview.Update(set), preview}
	}
	running := map[string]*snapshot.Snapshot{}
	for name, f := range now.Fleets {
		running[name] = f.Snapshot
	}
	gate := holdback.Gate{
		Room: p.opts.Abilities, Preview: true, Documents: preview,
		Build: func(result *store.Result, fleets []string) map[string]*snapshot.Snapshot {
			out := map[string]*snapshot.Snapshot{}
			for name, f := range p.fleets(now, &prospect{result, preview}, func(name string) bool { return slices.Contains(fleets, name) }, nil) {
				out[name] = f.Snapshot
			}
			return out
		},
	}
	return &prospect{gate.Update(set, running), preview}
}

// compare puts what is served beside what would be.
func (p *Planner) compare(now *served.Served, preview *store.Preview, set store.Set) *adminv1.PlanResponse {
	out := &adminv1.PlanResponse{}
	next := p.prospect(now, preview, set)
	budget := &budget{left: maxDiffs}
	out.Documents, out.Unchanged = documents(now.Result.Documents, next.Result, budget)
	for _, ref := range preview.Taken {
		out.Notes = append(out.Notes, fmt.Sprintf("%s: its files cannot be read where the plan was asked for: those that are served are taken", ref))
	}
	unknown := map[string]bool{}
	planned := p.fleets(now, next, func(string) bool { return true }, unknown)
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		out.Notes = append(out.Notes, "srv:"+name+": its servers are left out: it has not been looked up yet")
	}
	names := slices.Sorted(maps.Keys(planned))
	for name := range now.Fleets {
		if _, stays := planned[name]; !stays {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		change := p.fleet(name, now.Fleets[name], planned[name], budget, &out.Notes)
		if len(change.GetResources()) > 0 || change.GetError() != "" {
			out.Fleets = append(out.Fleets, change)
			if note := silenced(now.Fleets[name], planned[name], change); note != "" {
				out.Notes = append(out.Notes, note)
			}
		}
	}
	out.Problems = append(problems(now, next), doubts(now, next, set)...)
	if budget.cut {
		out.Notes = append(out.Notes, "some differences are too long, and are not shown in full")
	}
	return out
}

// silenced says that a fleet is left with nothing to listen on, which is what the files of another one come to.
func silenced(old served.Fleet, next planned, change *adminv1.FleetChange) string {
	listeners := func(s *snapshot.Snapshot) int { return orEmpty(s).Set(resource.ListenerType).Len() }
	if next.err != nil || listeners(old.Snapshot) == 0 || listeners(next.Snapshot) > 0 {
		return ""
	}
	connected := 0
	for _, p := range change.GetProxies() {
		if p.GetConnected() {
			connected++
		}
	}
	return text(fmt.Sprintf("fleet %s has no listener any more: its connected proxies, %d, would serve nothing", change.GetFleet(), connected))
}

// planned is what a fleet would have, or why it cannot.
type planned struct {
	served.Fleet
	err error
}

// fleets are those that would be and are wanted. unknown, if it is not nil, gets the SRV names that were not looked up yet.
func (p *Planner) fleets(now *served.Served, next *prospect, wanted func(name string) bool, unknown map[string]bool) map[string]planned {
	out := map[string]planned{}
	for _, f := range next.Compiled.Fleets {
		if !wanted(f.Name) {
			continue
		}
		old := now.Fleets[f.Name]
		fleet := *srv.Expand(f, func(d *ir.DNS, name string) []srv.Server {
			servers, known := p.opts.Servers(d, name)
			if !known && unknown != nil {
				unknown[name] = true
			}
			return servers
		})
		fleet.Certificates = slices.Clone(fleet.Certificates)
		for i, c := range fleet.Certificates {
			if other, ok := next.preview.Other[c.Name]; ok {
				fleet.Certificates[i] = other
			}
		}
		if len(fleet.Certificates) > 0 {
			fleet.TicketKeys = store.NewTicketKeys()
		}
		one := planned{Fleet: served.Fleet{IR: &fleet, Snapshot: old.Snapshot}}
		resources, err := translate.Fleet(&fleet)
		if err == nil {
			err = sameTickets(resources, old.Snapshot)
		}
		if err == nil {
			one.Snapshot, err = snapshot.Build(resources, old.Snapshot)
		}
		one.err = err
		out[f.Name] = one
	}
	return out
}

// sameTickets puts the session ticket keys that are served in the place of others: they are no part of any file.
func sameTickets(resources translate.Resources, s *snapshot.Snapshot) error {
	secrets := resources[resource.SecretType]
	r := orEmpty(s).Set(resource.SecretType).Get(translate.SessionTickets)
	if r == nil || secrets[translate.SessionTickets] == nil {
		return nil
	}
	m, err := r.Any().UnmarshalNew()
	secrets[translate.SessionTickets] = m
	return err
}

// spelling names a file of what is served as the request does, if it is the same within the folder.
func (p *Planner) spelling(relatives map[string]string) func(string) string {
	return func(file string) string {
		for _, path := range p.opts.Paths {
			if there, ok := Relative(path, file); ok && relatives[there] != "" {
				return relatives[there]
			}
		}
		return file
	}
}

// Relative is the name of a file within a path that was named: below a folder the rest, of a file its last name.
func Relative(path, file string) (string, bool) {
	if path == source.Stdin {
		return source.StdinName, file == source.StdinName
	}
	root, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", false
	}
	if root == abs {
		return filepath.Base(abs), true
	}
	within, err := filepath.Rel(root, abs)
	return within, err == nil && filepath.IsLocal(within)
}

// filesOf reads the request. relatives are the paths by their names within the folder, where that is one file's alone.
func filesOf(list []*adminv1.DefinitionFile) (files []source.File, relatives map[string]string, err error) {
	relatives = map[string]string{}
	paths := map[string]bool{}
	for _, f := range list {
		switch {
		case f.GetPath() == "":
			return nil, nil, errors.New("files: got a file without a path")
		case paths[f.GetPath()]:
			return nil, nil, fmt.Errorf("files: got %s twice", f.GetPath())
		}
		paths[f.GetPath()] = true
		file := source.File{Path: f.GetPath(), Data: f.GetData()}
		if f.GetError() != "" {
			file.Data, file.Err = nil, errors.New(f.GetError())
		}
		files = append(files, file)
		if _, twice := relatives[f.GetRelative()]; twice {
			relatives[f.GetRelative()] = ""
		} else {
			relatives[f.GetRelative()] = f.GetPath()
		}
	}
	return files, relatives, nil
}

func materialsOf(list []*adminv1.Material) (map[definition.Ref]store.Material, error) {
	out := map[definition.Ref]store.Material{}
	for _, m := range list {
		kind, name, ok := strings.Cut(m.GetDocument(), "/")
		if !ok {
			return nil, fmt.Errorf("materials: got document %q, want kind/name", m.GetDocument())
		}
		material := store.Material{Chain: m.GetChain(), KeySum: m.GetKeySha256()}
		if m.GetError() != "" {
			material.Err = &compile.CertificateError{Code: m.GetCode(), Field: m.GetField(), Err: errors.New(m.GetError())}
		}
		out[definition.Ref{Kind: kind, Name: name}] = material
	}
	return out, nil
}
