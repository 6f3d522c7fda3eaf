package quarantine

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Which words are told of a document. In a response there is much, and proxies of which one refuses this, one that, and one
// whatever comes; so words are not about a document because they were said while it was looked for.

// refusal is who refuses something, and in which words.
type refusal struct {
	Fleet     string   `json:"fleet"`
	Class     string   `json:"class"`
	Type      string   `json:"type"` // in short
	Text      string   `json:"text"`
	Proxies   []string `json:"proxies"` // by id, at most maxWitnesses
	Witnesses int      `json:"witnesses"`
	// Doubtful: the words may be about something else.
	Doubtful bool `json:"doubtful,omitempty"`
}

const maxWitnesses = 16

// saying is what some proxies of one class say of one type, in the same words.
type saying struct {
	refusal
	at time.Time // the first of them
	// sure: one of them had accepted all that was there before, and says so of what is there now.
	sure bool
}

// sayings are the refusals of what is published, by the classes that refuse it; those of most proxies first, then the oldest.
func (r *Room) sayings(fleet string, now time.Time) []saying {
	var out []saying
	classes, b := r.ballot(fleet, now, time.Time{})
	for _, voices := range classes {
		if j, _ := b.count(voices); j != refused {
			continue // what some say there is their own trouble
		}
		said, count := map[string]*saying{}, 0
		slices.SortFunc(voices, func(a, b voice) int {
			return cmp.Or(a.types[a.url].at.Compare(b.types[b.url].at), cmp.Compare(a.id, b.id))
		})
		for _, v := range voices {
			if v.says != refused {
				continue
			}
			count++
			w := v.types[v.url]
			s := said[v.url+w.text]
			if s == nil {
				short, _ := resource.ByURL(v.url)
				s = &saying{refusal: refusal{Fleet: fleet, Class: v.class, Type: short.Short, Text: w.text}, at: w.at}
				said[v.url+w.text] = s
			}
			s.sure = s.sure || v.sound && !w.old
			s.Witnesses++
			if len(s.Proxies) < maxWitnesses {
				s.Proxies = append(s.Proxies, v.id)
			}
		}
		for _, s := range said {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b saying) int {
		return cmp.Or(cmp.Compare(b.Witnesses, a.Witnesses), a.at.Compare(b.at), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Text, b.Text))
	})
	return out
}

// about picks the words that are about a document: those that name it, or else those that name nothing that it has nothing to do
// with, if it was refused alone. All others are doubtful.
func about(sayings []saying, ref definition.Ref, known roster, alone bool) refusal {
	const doubtful, fits, named = 1, 2, 3
	best, rank := refusal{}, 0
	for _, s := range sayings {
		words, is := wordsOf(s.Text), 0
		switch {
		case known.names(words, ref):
			is = named
		case known.strange(words, ref):
		case alone && s.sure:
			is = fits
		default:
			is = doubtful
		}
		if rank == 0 || is+1 > rank {
			best, rank = s.refusal, is+1
			best.Doubtful = is <= doubtful
		}
	}
	return best
}

// roster is what documents are called in what they become.
type roster struct {
	// own are names that are of one document alone, around are those of what it is a part of or speaks of.
	own, around map[definition.Ref][]string
}

func (k roster) names(words map[string]bool, ref definition.Ref) bool {
	return words[ref.Name] || slices.ContainsFunc(k.own[ref], func(n string) bool { return words[n] })
}

// strange tells whether words name a document that another has nothing to do with.
func (k roster) strange(words map[string]bool, ref definition.Ref) bool {
	related := map[string]bool{}
	for _, n := range k.around[ref] {
		related[n] = true
	}
	for other, names := range k.own {
		if other == ref || related[other.Name] || slices.ContainsFunc(names, func(n string) bool { return related[n] }) {
			continue
		}
		if k.names(words, other) {
			return true
		}
	}
	return false
}

// rosterOf is that of a fleet; every document that it is made of is in own.
func rosterOf(f *ir.Fleet) roster {
	k := roster{own: map[definition.Ref][]string{}, around: map[definition.Ref][]string{}}
	if f == nil {
		return k
	}
	add := func(kind, name string, as ...string) {
		ref := definition.Ref{Kind: kind, Name: name}
		k.own[ref] = append(k.own[ref], as...)
	}
	for _, c := range f.Clusters {
		add("Service", c.Name, c.Name)
	}
	for _, c := range f.Certificates {
		add("Certificate", c.Name, c.Name)
	}
	for _, t := range f.TrustBundles {
		add("TrustBundle", t.Name, t.Name)
	}
	sockets := map[string][]string{} // of a route table
	for i := range f.Listeners {
		l := &f.Listeners[i]
		chains := l.Chains
		if l.Default != nil {
			chains = append(slices.Clone(chains), *l.Default)
		}
		for _, c := range chains {
			gateway, _, _ := strings.Cut(c.Name, "/")
			add("Gateway", gateway, l.Name, c.Name)
			ref := definition.Ref{Kind: "Gateway", Name: gateway}
			if c.Certificate != "" {
				k.around[ref] = append(k.around[ref], c.Certificate)
			}
			if c.HTTP != nil {
				sockets[c.HTTP.RouteTable] = append(sockets[c.HTTP.RouteTable], l.Name)
			}
		}
	}
	for _, t := range f.RouteTables {
		gateway, _, _ := strings.Cut(t.Name, "/")
		add("Gateway", gateway, t.Name)
		for _, h := range t.Hosts {
			for i := range h.Rules {
				k.rule(t, h, &h.Rules[i], slices.Concat(sockets[t.Name], []string{gateway, t.Name}))
			}
		}
	}
	return k
}

// rule adds one of a Route, or of a Service with hosts of its own, which is the short form of a Route.
func (k roster) rule(t *ir.RouteTable, h *ir.VirtualHost, rule *ir.Rule, around []string) {
	document, _, _ := strings.Cut(rule.ID, "#")
	kind, name, ok := strings.Cut(document, "/")
	if !ok {
		return
	}
	ref, service := definition.Ref{Kind: kind, Name: name}, definition.Ref{Kind: "Service", Name: name}
	of := []definition.Ref{ref}
	if _, there := k.own[service]; there && kind == "Route" {
		of = append(of, service)
	}
	for _, b := range rule.Backends {
		around = append(around, b.Cluster)
	}
	for _, ref := range of {
		k.own[ref] = append(k.own[ref], h.Name, t.Name+"/"+h.Name, rule.ID)
		k.around[ref] = append(k.around[ref], around...)
	}
}

// wordsOf are all that may be a name in a text: words, and what stands in quotes, as a whole and in parts.
func wordsOf(text string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" '\"(),;#", c) }) {
		word = strings.Trim(word, ".")
		out[word], out[strings.TrimSuffix(word, ":")] = true, true
		for _, part := range strings.FieldsFunc(word, func(c rune) bool { return strings.ContainsRune(":/=", c) }) {
			out[part] = true
		}
	}
	return out
}

// order puts the suspects last whom the proxies seem to mean, and returns where they begin: those that the words name, or
// else those of the kinds that make resources of the type.
func (s *search) order() int {
	meant := map[definition.Ref]bool{}
	for _, said := range s.said {
		words := wordsOf(said.Text)
		for _, c := range s.suspects {
			if s.known.names(words, c.ref()) {
				meant[c.ref()] = true
			}
		}
	}
	if len(meant) == 0 {
		for _, c := range s.suspects {
			meant[c.ref()] = slices.Contains(kindsOf[s.said[0].Type], c.ref().Kind)
		}
	}
	slices.SortStableFunc(s.suspects, func(a, b change) int {
		switch {
		case meant[a.ref()] == meant[b.ref()]:
			return 0
		case meant[a.ref()]:
			return 1
		}
		return -1
	})
	return slices.IndexFunc(s.suspects, func(c change) bool { return meant[c.ref()] })
}

// kindsOf are the documents that a type of resource is mostly made of.
var kindsOf = func() map[string][]string {
	out := map[string][]string{}
	for url, kinds := range map[string][]string{
		resource.ClusterType: {"Service"}, resource.EndpointType: {"Service"}, resource.SecretType: {"Certificate", "TrustBundle"},
		resource.ListenerType: {"Gateway"}, resource.RouteType: {"Route"}, resource.VirtualHostType: {"Route"},
	} {
		t, _ := resource.ByURL(url)
		out[t.Short] = kinds
	}
	return out
}()
