// Package provenance finds the documents that a resource came from.
//
// In: what was compiled, and the name of a resource. Out: documents, with file and line. Clusters and endpoints come from a
// Service; listeners from Gateways; routes from the Gateway whose listener they are of and from Routes; secrets from
// Certificates and TrustBundles. It must not know what the resources hold, nor who has them.
package provenance

import (
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Origin is one document that a resource came from, or a part of one.
type Origin struct {
	// Document is "Service/api", or for a listener "Gateway/web/https".
	Document string
	// Position is where it stands. It is the zero value for what is built in.
	definition.Position
}

// String is file:line: document.
func (o Origin) String() string {
	if o.File == "" {
		return o.Document
	}
	at := o.Position
	at.Column = 0
	return at.String() + ": " + o.Document
}

// most is how many documents are named of one resource: a table of routes has one for each Route.
const most = 16

// Find names the documents of a resource, at most 16, the most telling first. None: nobody wrote it, as with the keys of
// session tickets, or it is not served any more.
func Find(out *compile.Output, fleet, typeURL, name string) []Origin {
	if out == nil {
		return nil
	}
	f := find{out: out, seen: map[string]bool{}}
	for _, one := range out.Fleets {
		if one.Name == fleet {
			f.fleet = one
		}
	}
	switch typeURL {
	case resource.ClusterType, resource.EndpointType:
		f.add("Service/" + name)
	case resource.SecretType:
		if bundle, ok := strings.CutPrefix(name, "trust/"); ok {
			f.add("TrustBundle/" + bundle)
		} else {
			f.add("Certificate/" + name)
		}
	case resource.ListenerType:
		f.listener(name)
	case resource.RouteType:
		f.table(name)
	case resource.VirtualHostType:
		f.hostOf(name)
	}
	return f.found
}

type find struct {
	out   *compile.Output
	fleet *ir.Fleet // nil if nothing is compiled for it
	found []Origin
	seen  map[string]bool
}

// add takes a name of compile.Output.Origins; one that is not there is left out.
func (f *find) add(id string) {
	at, ok := f.out.Origins()[id]
	if !ok || f.seen[id] || len(f.found) == most {
		return
	}
	f.seen[id] = true
	f.found = append(f.found, Origin{id, at})
}

// hostOf adds the documents of one virtual host's rules.
func (f *find) hostOf(name string) {
	if f.fleet == nil {
		return
	}
	for _, t := range f.fleet.RouteTables {
		if t.Name != resource.TableOf(name) {
			continue
		}
		for _, h := range t.Hosts {
			if resource.HostName(t.Name, h.Name) == name {
				f.host(h)
			}
		}
	}
}

// listener adds the listeners of Gateways that share a socket.
func (f *find) listener(name string) {
	if f.fleet == nil {
		return
	}
	for i := range f.fleet.Listeners {
		l := &f.fleet.Listeners[i]
		if l.Name != name {
			continue
		}
		for j := range l.Chains {
			f.chain(l.Chains[j].Name)
		}
		if l.Default != nil {
			f.chain(l.Default.Name)
		}
	}
}

// chain adds what a filter chain is of: its name is "gateway/listener", and what is presented.
func (f *find) chain(name string) {
	if parts := strings.SplitN(name, "/", 3); len(parts) >= 2 {
		f.add("Gateway/" + parts[0] + "/" + parts[1])
	}
}

// table adds the listener whose table it is, and the documents of its rules.
func (f *find) table(name string) {
	f.add("Gateway/" + name)
	if f.fleet == nil {
		return
	}
	for _, t := range f.fleet.RouteTables {
		if t.Name == name {
			for _, h := range t.Hosts {
				f.host(h)
			}
		}
	}
}

func (f *find) host(h *ir.VirtualHost) {
	for i := range h.Rules {
		document, _, _ := strings.Cut(h.Rules[i].ID, "#")
		if name, route := strings.CutPrefix(document, "Route/"); route && f.out.Origins()[document] == (definition.Position{}) {
			document = "Service/" + name // with hosts of its own: the short form of a Route
		}
		f.add(document)
	}
}
