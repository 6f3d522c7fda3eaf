package quarantine

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// line is what is kept of a document. One of Conviction, Unproven and Nothing is set.
type line struct {
	// Conviction is a document that is held back; the document beside it is served instead.
	Conviction *convictionLine `json:"conviction,omitempty"`
	// Unproven is a document of which the fleet has not accepted what is served now; the document beside it is what it has.
	Unproven *unprovenLine `json:"unproven,omitempty"`
	// Nothing is a fleet that has accepted nothing yet.
	Nothing string `json:"nothing,omitempty"`
}

type convictionLine struct {
	Kind     string    `json:"kind"`
	Name     string    `json:"name"`
	Hash     string    `json:"hash"`
	Since    time.Time `json:"since"`
	Heard    bool      `json:"heard"`
	Hearings int       `json:"hearings"`
	Among    int       `json:"among"`
	refusal
}

type unprovenLine struct {
	Fleet string `json:"fleet"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

// Keep is what another process needs to know: what is held back, and what is served though nobody has accepted it yet.
func (r *Room) Keep() []store.Quarantined {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []store.Quarantined
	add := func(l line, d *definition.Document) {
		about, err := json.Marshal(l)
		if err != nil {
			panic("quarantine: " + err.Error()) // strings, numbers and times
		}
		out = append(out, store.Quarantined{Document: d, About: about})
	}
	for _, ref := range sortedVerdicts(r.verdicts) {
		c := r.verdicts[ref]
		add(line{Conviction: &convictionLine{
			Kind: c.Ref.Kind, Name: c.Ref.Name, Hash: c.Hash, Since: c.since.UTC(), Heard: c.heard, Hearings: c.hearings, Among: c.among, refusal: c.refusal,
		}}, c.instead)
	}
	if r.published == nil {
		return out
	}
	for _, name := range sortedNames(r.fleets) {
		f := r.fleets[name]
		switch {
		case f.proven == nil:
			add(line{Nothing: name}, nil)
		case !sameDocuments(f.proven, r.published.Documents):
			for _, c := range differences(f.proven, r.published.Documents) {
				add(line{Unproven: &unprovenLine{Fleet: name, Kind: c.ref().Kind, Name: c.ref().Name}}, c.from)
			}
		}
	}
	return out
}

// differences between two lists, both sorted by name, sorted.
func differences(from, to []*definition.Document) (out []change) {
	for len(from)+len(to) > 0 {
		order := 0
		switch {
		case len(from) == 0:
			order = 1
		case len(to) == 0:
			order = -1
		case from[0] != to[0]:
			order = definition.CompareRefs(from[0].Ref, to[0].Ref)
		}
		switch {
		case order < 0:
			out, from = append(out, change{from[0], nil}), from[1:]
		case order > 0:
			out, to = append(out, change{nil, to[0]}), to[1:]
		default:
			if from[0].Hash != to[0].Hash {
				out = append(out, change{from[0], to[0]})
			}
			from, to = from[1:], to[1:]
		}
	}
	return out
}

// load takes what was kept. A document that was accepted and of which nothing is said is proven.
func (r *Room) load(accepted map[definition.Ref]*definition.Document, kept []store.Quarantined) {
	list := func(m map[definition.Ref]*definition.Document) []*definition.Document {
		var out []*definition.Document
		for _, d := range m {
			out = append(out, d)
		}
		slices.SortFunc(out, func(a, b *definition.Document) int { return definition.CompareRefs(a.Ref, b.Ref) })
		return out
	}
	r.accepted = list(accepted)
	proven := map[string]map[definition.Ref]*definition.Document{}
	for _, k := range kept {
		var l line
		if err := json.Unmarshal(k.About, &l); err != nil {
			r.log.Warn("a line of the quarantine cannot be read, and is left out", "error", err)
			continue
		}
		switch {
		case l.Conviction != nil && len(l.Conviction.Proxies) > 0:
			c := l.Conviction
			ref := definition.Ref{Kind: c.Kind, Name: c.Name}
			r.verdicts[ref] = &conviction{
				version: version{ref, c.Hash}, instead: k.Document, refusal: c.refusal, since: c.Since, heard: c.Heard, hearings: c.Hearings, among: c.Among, told: true, next: time.Now(),
			}
		case l.Unproven != nil:
			u := l.Unproven
			if proven[u.Fleet] == nil {
				proven[u.Fleet] = byRef(r.accepted)
			}
			ref := definition.Ref{Kind: u.Kind, Name: u.Name}
			delete(proven[u.Fleet], ref)
			if k.Document != nil {
				proven[u.Fleet][ref] = k.Document
			}
		case l.Nothing != "":
			r.loaded[l.Nothing] = nil
		}
	}
	for name, documents := range proven {
		r.loaded[name] = list(documents)
	}
}
