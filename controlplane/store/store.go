// Package store keeps the last accepted version of every document, and decides which versions are compiled.
//
// In: what stands in the files now. Out: what is served now, and what is wrong. A document that is bad, by itself or in
// company, is replaced by its last good version; one that is gone but still needed is kept; everything else goes on.
// With a folder, all of this survives a restart. It must not know how files are watched, xDS, or proxies.
package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Set is what stands in the files.
type Set struct {
	Documents []*definition.Document
	Problems  []definition.Problem
	// Unknown are files and folders that could not be read, or not in full: what stood there before is not taken for
	// deleted.
	Unknown []string
	// Held are versions of documents that are not served, whatever the files say: see Held.
	Held map[definition.Ref]Held
}

// What is served in the place of a document in trouble.
const (
	ServingLastGood = "last good version"
	ServingNothing  = "nothing"
)

// Problem is a definition.Problem, and what is served in the place of the document, or of the part that its field
// names: ServingLastGood, ServingNothing, or "" for a warning.
type Problem struct {
	definition.Problem
	Serving string
}

// Result is one build. It is not changed afterwards.
type Result struct {
	// Compiled is what is served.
	Compiled *compile.Output
	// Problems are all that is wrong, sorted by position: with the files, and with documents together.
	Problems []Problem
	// Documents are the versions that were compiled, sorted by name.
	Documents []*definition.Document
	// Files are those that documents refer to, to be watched.
	Files []string
	// Held are those of Set.Held that the files want to have served.
	Held map[definition.Ref]bool
}

// Options for Open.
type Options struct {
	// Dir keeps the state. Empty: it lives in memory alone.
	Dir string
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
	// Logger gets what is wrong with the state folder. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is safe for concurrent use.
type Store struct {
	// Read-only after Open.
	dir  string
	now  func() time.Time
	log  *slog.Logger
	lock *folderLock

	// Certificates hold the bytes of certificates.
	certs *Certificates

	// Guarded by mu.
	mu sync.Mutex
	// accepted are the last good versions. Of a document that never was without fault, it is the last version of which a
	// part is served; partial says so.
	accepted map[definition.Ref]*definition.Document
	partial  map[definition.Ref]bool
	sockets  map[compile.Socket]bool // what the last build has, of an earlier process too; nil: that is not known
	// documents is accepted and partial on disk.
	documents documentLog
	// sorted are the documents of the last build.
	sorted []*definition.Document
	// named are the documents of the last Set, if no two had one name.
	named []*definition.Document
	// settled are the last good versions, sorted by name, if they are what the last Set says, and nothing else; else nil.
	settled []*definition.Document
	sorting sorting
	// spelled: what was accepted names its files as the last Set does.
	spelled bool
	// memory is what builds have in common.
	memory compile.Memory
	// tickets are session ticket keys by fleet.
	tickets map[string]*tickets
	// answers are those of name servers, by name.
	answers map[string][]byte
	// revisions are records of what was served.
	revisions []json.RawMessage
	// abilities are what KeepAbilities was told, or Abilities found.
	abilities []json.RawMessage
	// quarantine is what KeepQuarantine was told.
	quarantine []Quarantined
	// inForce are the holds that the files were up against at the last Update.
	inForce map[definition.Ref]Held
	// dirtySockets: sockets differ from what is on disk, and so on.
	dirtySockets, dirtyTickets, dirtyAnswers, dirtyRevisions, dirtyQuarantine bool
}

// Open reads the state folder, which it makes if it is not there. What is damaged in it is logged and left out. The
// folder is for one control plane at a time.
func Open(opts Options) (*Store, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		dir: opts.Dir, now: opts.Now, log: opts.Logger, certs: newCertificates(opts.Now),
		accepted: map[definition.Ref]*definition.Document{}, partial: map[definition.Ref]bool{},
		tickets: map[string]*tickets{}, answers: map[string][]byte{},
	}
	if s.dir != "" {
		if err := s.load(); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return s, nil
}

// Update decides what is served, now that the files hold set.
func (s *Store) Update(set Set) *Result { return s.update(set, s.certs.Reader()) }

func (s *Store) update(set Set, certificates func(*definition.Document) (chain, key []byte, err error)) *Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := paths{}
	s.respell(set, known)
	b := &build{
		store: s, set: set, paths: known, certificates: certificates, now: s.now(),
		held: map[definition.Ref]definition.Position{}, reverted: map[definition.Ref]bool{},
		kept: map[definition.Ref]Problem{},
	}
	b.choose()
	out := b.settle()
	result := b.result(out)
	s.accept(b, out)
	s.inForce = map[definition.Ref]Held{}
	for ref := range b.inForce {
		s.inForce[ref] = set.Held[ref]
	}
	return result
}

// build is one Update.
type build struct {
	store        *Store
	set          Set
	paths        paths
	certificates func(*definition.Document) (chain, key []byte, err error)
	now          time.Time

	// files are the documents of the files, one of each name; see fresh. chosen are those to compile: these, or last good
	// versions.
	files  []*definition.Document
	byRef  map[definition.Ref]*definition.Document // files, if somebody asked for one
	chosen choice
	// compiled are those that were compiled last, sorted by name.
	compiled []*definition.Document
	// held are documents that exist, and have no version that can be used.
	held map[definition.Ref]definition.Position
	// reverted are fresh documents in whose place the last good version was chosen.
	reverted map[definition.Ref]bool
	problems []Problem
	// kept are deleted documents that others need. recheck: some of those others may have been taken back since.
	kept    map[definition.Ref]Problem
	recheck bool
	// inForce are the holds that the files are up against.
	inForce map[definition.Ref]bool
}

// result puts the build into words.
func (b *build) result(out *compile.Output) *Result {
	r := &Result{Compiled: out, Held: b.inForce}
	// What is wrong with a version that was held back, and with the last good one too, is told of the latter.
	again := map[definition.Problem]bool{}
	for _, p := range out.Problems {
		again[p] = true
	}
	b.problems = slices.DeleteFunc(b.problems, func(p Problem) bool { return again[p.Problem] })
	for _, p := range out.Problems {
		serving := ""
		switch {
		case p.Severity != definition.SeverityError:
			if b.reverted[p.Ref] {
				continue // of a version that does not stand in the files any more
			}
		case (p.Ref.Kind == "Certificate" || p.Ref.Kind == "TrustBundle") && b.store.accepted[p.Ref] != nil:
			serving = ServingLastGood
		default:
			serving = ServingNothing
		}
		b.problems = append(b.problems, Problem{p, serving})
	}
	for _, p := range b.kept {
		b.problems = append(b.problems, p)
	}
	r.Problems = b.problems
	SortProblems(r.Problems)
	r.Problems = slices.Compact(r.Problems)
	for _, documents := range [][]*definition.Document{b.compiled, b.files} {
		for _, d := range documents {
			r.Files = append(r.Files, certificateFiles(d)...)
		}
	}
	slices.Sort(r.Files)
	r.Files = slices.Compact(r.Files)
	r.Documents = b.compiled
	b.store.sorted = r.Documents
	return r
}

// fresh is a document as it stands in the files; nil is none.
func (b *build) fresh(ref definition.Ref) *definition.Document {
	if b.byRef == nil {
		b.byRef = byRef(b.files)
	}
	return b.byRef[ref]
}

// SortProblems puts problems in the order of their places.
func SortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(x, y Problem) int {
		return cmp.Or(cmp.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column),
			cmp.Compare(x.Ref.String(), y.Ref.String()), cmp.Compare(x.Code, y.Code), cmp.Compare(x.Field, y.Field), cmp.Compare(x.Message, y.Message))
	})
}
