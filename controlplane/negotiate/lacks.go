package negotiate

import (
	"fmt"
	"strings"

	"github.com/sluice-proxy/sluice/xds/features"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Lack is something that a fleet's resource has and a class of its proxies does not support.
type Lack struct {
	Fleet string
	Class *Class
	// Proxies are those of the class, by id, sorted.
	Proxies []string
	// TypeURL and Resource say where.
	TypeURL, Resource string
	features.Lack
	// New: the resource that was there before has it not.
	New bool
}

// view is a fleet in the eyes of a class.
type view struct {
	fleet string
	class *Class
}

// Lacks are all of a fleet that is to have now and had before, which may be nil; by class and in push order.
func (r *Room) Lacks(fleet string, now, before *snapshot.Snapshot) []Lack {
	return r.lacks(fleet, now, before, true)
}

// WouldLack is Lacks of what is not about to be served: what was looked into for that stays remembered.
func (r *Room) WouldLack(fleet string, now, before *snapshot.Snapshot) []Lack {
	return r.lacks(fleet, now, before, false)
}

func (r *Room) lacks(fleet string, now, before *snapshot.Snapshot, remember bool) []Lack {
	classes, proxies := r.members(fleet)
	r.looking.Lock()
	defer r.looking.Unlock()
	for v := range r.seen { // of who is gone nothing is kept
		if v.fleet == fleet && proxies[v.class] == nil {
			delete(r.seen, v)
		}
	}
	if before == nil {
		before = snapshot.Empty
	}
	var out []Lack
	for _, c := range classes {
		known, next := r.seen[view{fleet, c}], map[*snapshot.Resource][]features.Lack{}
		look := func(res *snapshot.Resource) []features.Lack {
			lacks, ok := known[res]
			if !ok {
				lacks, _ = c.taken.Lacks(res.Any()) // it was made here, so it can be read
			}
			next[res] = lacks
			return lacks
		}
		for _, t := range resource.PushOrder {
			for _, res := range now.Set(t.URL).All() {
				lacks := look(res)
				if len(lacks) == 0 {
					continue
				}
				had := map[string]bool{}
				if old := before.Set(t.URL).Get(res.Name); old != nil {
					for _, l := range look(old) {
						had[l.Field] = true
					}
				}
				for _, l := range lacks {
					out = append(out, Lack{
						Fleet: fleet, Class: c, Proxies: proxies[c], TypeURL: t.URL, Resource: res.Name, Lack: l, New: !had[l.Field],
					})
				}
			}
		}
		if remember {
			r.seen[view{fleet, c}] = next
		}
	}
	return out
}

var words = map[string]string{
	resource.ClusterType: "cluster", resource.EndpointType: "endpoints", resource.SecretType: "secret",
	resource.ListenerType: "listener", resource.RouteType: "route", resource.VirtualHostType: "route",
}

// String is "fleet edge: proxy go-1 (sluice-proxy 0.3.1) does not support listener field X (at …); Envoy does".
func (l Lack) String() string {
	const most = 3
	who, do := "proxy "+l.Proxies[0], "does"
	if n := len(l.Proxies); n > 1 {
		who, do = "proxies "+strings.Join(l.Proxies[:min(n, most)], ", "), "do"
		if n > most {
			who += fmt.Sprintf(" and %d more", n-most)
		}
	}
	if l.Class.Agent != "" {
		who += " (" + l.Class.Agent + ")"
	}
	word := words[l.TypeURL]
	if word == "" {
		word = "resource"
	}
	what, others := "field "+l.Field, "Envoy does"
	if l.Extension {
		what = "extension " + l.Field
	}
	if !l.Class.taken.Whole() {
		others = "stock Envoy does"
	}
	return fmt.Sprintf("fleet %s: %s %s not support %s %s (%q: %s); %s", l.Fleet, who, do, word, what, l.Resource, l.Path, others)
}
