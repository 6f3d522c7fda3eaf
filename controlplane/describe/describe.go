// Package describe lists documents, and says of one what became of it and who runs that.
//
// In: what is served, and the proxies. Out: answers in the words of the API, without secrets. It must not know the files
// as they are now: what is told is what is served, and what is wrong.
package describe

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Options say where the answers come from. All are required, but for Troubled.
type Options struct {
	Served  func() *served.Served // nil before the first build
	Proxies func(fleet string) []status.Proxy
	// Troubled are the resources of which a proxy has not accepted the newest. Nil: only types are known.
	Troubled func(ctx context.Context, fleet, id string) ([]status.Resource, error)
}

// Describer answers. Safe for concurrent use.
type Describer struct{ opts Options }

// New makes a Describer.
func New(opts Options) *Describer { return &Describer{opts} }

// What becomes of a document.
const (
	asWritten = "served"
	inPart    = "served in part"
	lastGood  = "last good version"
	earlier   = "earlier version" // by an undo
	notServed = "not served"
)

func (d *Describer) now() (*served.Served, error) {
	if s := d.opts.Served(); s != nil {
		return s, nil
	}
	return nil, grpcstatus.Error(codes.Unavailable, "the first build is not done")
}

// List answers which documents there are: all that are served, and those that are not because of what is wrong with them.
func (d *Describer) List(request *adminv1.ListRequest) (*adminv1.ListResponse, error) {
	s, err := d.now()
	if err != nil {
		return nil, err
	}
	pieces, known, problems := piecesOf(s), map[definition.Ref]bool{}, map[definition.Ref][]store.Problem{}
	for _, doc := range s.Result.Documents {
		known[doc.Ref] = true
	}
	for _, p := range s.Result.Problems {
		problems[p.Ref] = append(problems[p.Ref], p)
	}
	out := &adminv1.ListResponse{}
	add := func(ref definition.Ref, at definition.Position) {
		if request.GetKind() != "" && request.GetKind() != ref.Kind {
			return
		}
		entry := &adminv1.ListedDocument{
			Document: text(ref.String()), File: text(at.File), Line: int32(at.Line), State: state(known[ref], problems[ref], pieces[ref]),
			Fleets: fleetsOf(pieces[ref]), Problems: uint32(len(problems[ref])),
		}
		out.Documents = append(out.Documents, entry)
	}
	for _, doc := range s.Result.Documents {
		add(doc.Ref, doc.Position)
	}
	for _, p := range s.Result.Problems {
		if p.Ref.Name != "" && !known[p.Ref] {
			add(p.Ref, p.Position)
			known[p.Ref] = true
		}
	}
	slices.SortStableFunc(out.Documents, func(a, b *adminv1.ListedDocument) int { return strings.Compare(a.GetDocument(), b.GetDocument()) })
	return out, nil
}

// state is what becomes of a document, by what is wrong with it.
func state(known bool, problems []store.Problem, pieces []piece) string {
	if !known {
		return notServed
	}
	state := asWritten
	for _, p := range problems {
		switch {
		case p.Serving == store.ServingLastGood:
			return lastGood
		case p.Code == definition.CodeUndone && state == asWritten:
			state = earlier
		case p.Serving == store.ServingNothing && len(pieces) > 0:
			state = inPart
		case p.Serving == store.ServingNothing:
			state = notServed
		}
	}
	return state
}

func fleetsOf(pieces []piece) (fleets []string) {
	for _, p := range pieces {
		if !slices.Contains(fleets, p.fleet) {
			fleets = append(fleets, p.fleet)
		}
	}
	return fleets
}

// Describe answers what a document became.
func (d *Describer) Describe(ctx context.Context, request *adminv1.DescribeRequest) (*adminv1.DescribeResponse, error) {
	s, err := d.now()
	if err != nil {
		return nil, err
	}
	kind, name, ok := strings.Cut(request.GetDocument(), "/")
	if !ok || name == "" {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "got %q, want kind/name, such as Route/shop", request.GetDocument())
	}
	ref := definition.Ref{Kind: kind, Name: name}
	out := &adminv1.DescribeResponse{Document: text(ref.String())}
	var problems []store.Problem
	found := false
	for _, doc := range s.Result.Documents {
		if doc.Ref == ref {
			found = true
			out.File, out.Line, out.Text = text(doc.Position.File), int32(doc.Position.Line), text(string(doc.Text))
		}
	}
	for _, p := range s.Result.Problems {
		if p.Ref != ref {
			continue
		}
		if !found && out.File == "" {
			out.File, out.Line = text(p.File), int32(p.Line)
		}
		problems = append(problems, p)
		out.Problems = append(out.Problems, served.Problem(p))
	}
	if !found && len(out.Problems) == 0 {
		return nil, grpcstatus.Errorf(codes.NotFound, "there is no %s%s", ref, like(s, ref))
	}
	pieces := piecesOf(s)
	out.State, out.UsedBy = state(found, problems, pieces[ref]), usersOf(s, ref)
	out.Resources = resources(s, ref, pieces[ref])
	out.Proxies = d.proxies(ctx, pieces[ref])
	return out, nil
}

// like names what may have been meant: the name in another kind, or others of the kind.
func like(s *served.Served, ref definition.Ref) string {
	var same, others []string
	for _, d := range s.Result.Documents {
		switch {
		case d.Ref.Name == ref.Name:
			same = append(same, d.Ref.String())
		case d.Ref.Kind == ref.Kind:
			others = append(others, d.Ref.String())
		}
	}
	if len(same) == 0 {
		same = others
	}
	if len(same) == 0 {
		return ""
	}
	return ", but " + strings.Join(same[:min(3, len(same))], ", ")
}

// proxies are those of the fleets that have something of a document, with what they have not of it.
func (d *Describer) proxies(ctx context.Context, pieces []piece) (out []*adminv1.Running) {
	// maxAsked of those that have not the newest of its types are asked which resources that is about.
	const most, maxAsked = 1000, 200
	types, mine := map[string]map[string]bool{}, map[piece]bool{} // types by fleet
	for _, p := range pieces {
		if types[p.fleet] == nil {
			types[p.fleet] = map[string]bool{}
		}
		types[p.fleet][p.typeURL], mine[p] = true, true
	}
	asked := 0
	for _, fleet := range slices.Sorted(maps.Keys(types)) {
		for _, x := range d.opts.Proxies(fleet) {
			if len(out) == most {
				return out
			}
			r := &adminv1.Running{Fleet: text(fleet), Id: text(x.ID), Agent: text(x.Agent), Connected: x.Connected}
			for _, t := range x.Types {
				if types[fleet][t.URL] && t.State != status.Synced {
					r.Lacks = append(r.Lacks, lack(t.Short, t.State, t.Error))
				}
			}
			if len(r.Lacks) > 0 && x.Connected && d.opts.Troubled != nil && asked < maxAsked {
				asked++
				if troubled, err := d.opts.Troubled(ctx, fleet, x.ID); err == nil {
					r.Lacks = nil
					for _, res := range troubled {
						if mine[piece{fleet, res.URL, res.Name}] {
							r.Lacks = append(r.Lacks, lack(res.Short+" "+res.Name, res.State, res.Error))
						}
					}
				}
			}
			r.Runs = x.Connected && len(r.Lacks) == 0
			out = append(out, r)
		}
	}
	return out
}

// lack is what a proxy has not, and why.
func lack(what string, state status.State, words string) string {
	what = text(what) + " " + string(state)
	if words != "" {
		what += ": " + text(words)
	}
	return what
}

// text is what protobuf takes for a string: it must be UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// order is that in which types are pushed.
func order(typeURL string) int {
	return slices.IndexFunc(resource.PushOrder, func(t resource.Type) bool { return t.URL == typeURL })
}
