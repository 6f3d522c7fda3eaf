package server

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// client models a proxy: wildcards for clusters and listeners; endpoints and routes by the names in those.
type client struct {
	m       *model
	delta   bool
	envoy   bool // withholds its verdict on CDS until all clusters are warm
	partial bool // uses the good resources of a response that it refuses

	has      map[string]map[string]*snapshot.Resource // in use, by type and name: survives a reconnect
	versions map[string]string                        // SotW, by type: last accepted; survives too
	bare     map[string]bool                          // tables with hosts apart that wait for the first word of any
	cold     map[string]bool                          // clusters that wait for endpoints (envoy)
	fed      map[string]bool                          // of those, the ones whose endpoints came, good or bad
	refused  map[string]bool                          // clusters that came and were refused, which the server may not know yet

	// Of the stream.
	names    map[string][]string // by type
	nonces   map[string]string
	asked    map[string]bool
	left     map[string]bool // unsubscribed once: to ask again for what is gone is answered at once, used or not
	withheld []*request      // verdicts on CDS
}

func (c *client) connected() {
	if c.versions == nil {
		c.versions = map[string]string{}
		c.bare, c.cold, c.fed, c.refused = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	}
	c.names, c.nonces, c.asked = map[string][]string{}, map[string]string{}, map[string]bool{}
	c.withheld, c.left = nil, map[string]bool{}
	for name := range c.cold {
		c.fed[name] = true // the server takes it that a client is warm that comes back
	}
	c.request(cds, nil)
	c.request(lds, nil)
	c.follow()
}

// wild are the types of which all is asked for.
func wild(typeURL string) bool { return typeURL == cds || typeURL == lds || typeURL == vhd }

// request sends what is wanted of a type, as far as the server does not know it.
func (c *client) request(typeURL string, want []string) {
	first := !c.asked[typeURL]
	if !first && slices.Equal(want, c.names[typeURL]) || first && want == nil && !wild(typeURL) {
		return
	}
	c.asked[typeURL] = true
	req := &request{typeURL: typeURL}
	if c.delta {
		for _, n := range want {
			if !slices.Contains(c.names[typeURL], n) {
				req.subscribe = append(req.subscribe, n)
			}
		}
		for _, n := range c.names[typeURL] {
			if !slices.Contains(want, n) {
				c.left[typeURL+n] = true
				req.unsubscribe = append(req.unsubscribe, n)
				if c.m.r.IntN(2) == 0 {
					delete(c.has[typeURL], n) // forgotten
				}
			}
		}
		if first {
			req.initial = map[string]string{}
			for n, r := range c.has[typeURL] {
				req.initial[n] = r.Version
			}
		}
	} else {
		req.names, req.nonce, req.version = want, c.nonces[typeURL], c.versions[typeURL]
	}
	c.names[typeURL] = want
	c.m.up = append(c.m.up, req)
}

// follow subscribes to what the clusters and listeners in use refer to, and drops the rest.
func (c *client) follow() {
	for _, follows := range [][2]string{{cds, eds}, {lds, rds}} {
		from, to := follows[0], follows[1]
		var want []string
		for _, r := range c.has[from] {
			want = append(want, r.Refs(to)...)
		}
		slices.Sort(want)
		want = slices.Compact(want)
		for n := range c.has[to] {
			if !slices.Contains(want, n) {
				delete(c.has[to], n)
			}
		}
		c.request(to, want)
	}
	c.followHosts()
}

// followHosts forgets hosts with their tables, and asks for hosts once there is a table that has them apart.
func (c *client) followHosts() {
	for name := range c.has[vhd] {
		if !c.splits(resource.TableOf(name)) {
			delete(c.has[vhd], name)
		}
	}
	for name := range c.bare {
		if !c.splits(name) {
			delete(c.bare, name)
		}
	}
	for name := range c.has[rds] {
		if c.splits(name) {
			c.request(vhd, nil)
		}
	}
}

func (c *client) splits(table string) bool {
	r := c.has[rds][table]
	return r != nil && r.HostsApart()
}

// receive takes a response, and gives its verdict.
func (c *client) receive(msg *message) {
	c.nonces[msg.typeURL] = msg.nonce
	var bad []string
	seen := map[string]bool{}
	for _, r := range msg.resources {
		if isBad(r) {
			bad = append(bad, r.Name)
		}
		if seen[r.Name] {
			c.m.fatalf("%s stands twice", r.Name) // rule 8
		}
		seen[r.Name] = true
	}
	for name := range seen {
		switch msg.typeURL {
		case cds:
			c.refused[name] = len(bad) > 0
		case eds:
			c.fed[name] = true
		}
	}
	verdict := &request{typeURL: msg.typeURL, nonce: msg.nonce}
	if len(bad) > 0 {
		detail := fmt.Sprintf("bad: %v", bad)
		verdict.refused = &detail
	}
	if len(bad) == 0 || c.partial {
		c.apply(msg)
	}
	if len(bad) == 0 {
		c.versions[msg.typeURL] = msg.version
	}
	if msg.typeURL == cds && len(bad) == 0 {
		verdict.initial = map[string]string{} // not for the server: what it is told by this
		for name := range seen {
			verdict.initial[name] = ""
		}
	}
	if c.envoy && msg.typeURL == cds {
		c.withheld = append(c.withheld, verdict)
	} else {
		c.send(verdict)
	}
	c.follow()
	if len(c.cold) == 0 {
		c.release()
	}
}

func (c *client) send(verdict *request) {
	if !c.delta {
		verdict.names, verdict.version = c.names[verdict.typeURL], c.versions[verdict.typeURL]
	}
	c.m.up = append(c.m.up, verdict)
}

// release gives the verdicts that were withheld: in state of the world only the last is left of them.
func (c *client) release() bool {
	if len(c.withheld) == 0 {
		return false
	}
	all := c.withheld
	c.withheld = nil
	if !c.delta {
		all = all[len(all)-1:]
	}
	for _, verdict := range all {
		c.send(verdict)
	}
	return true
}

// giveUp is the time-out of a cluster that does not warm.
func (c *client) giveUp() bool {
	clear(c.cold)
	return c.release()
}

// apply puts a response to use, and checks what must hold.
func (c *client) apply(msg *message) {
	has := c.has[msg.typeURL]
	for _, name := range msg.removed {
		c.remove(msg, name)
		if msg.typeURL == vhd {
			delete(c.bare, resource.TableOf(name))
		}
	}
	full := !c.delta && (msg.typeURL == cds || msg.typeURL == lds)
	if full {
		keep := map[string]bool{}
		for _, r := range msg.resources {
			keep[r.Name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(has)) {
			if !keep[name] {
				c.remove(msg, name)
			}
		}
	}
	for _, r := range msg.resources {
		if isBad(r) {
			continue
		}
		switch table := resource.TableOf(r.Name); msg.typeURL {
		case cds:
			if len(r.Refs(eds)) > 0 && (has[r.Name] == nil || has[r.Name].Version != r.Version) {
				c.fed[r.Name] = has[r.Name] != nil // else the one before serves on
				c.cold[r.Name] = true              // rule 13: it wants its endpoints again
			}
		case eds:
			delete(c.cold, r.Name)
		case lds, rds:
			if has[r.Name] == nil || has[r.Name].Version != r.Version {
				c.checkRoute(msg, r)
			}
			if msg.typeURL == rds && r.HostsApart() && !c.splits(r.Name) {
				c.bare[r.Name] = true
			}
		case vhd:
			if !c.splits(table) {
				continue // accepted, and lost
			}
			delete(c.bare, table)
			if has[r.Name] == nil || has[r.Name].Version != r.Version {
				c.checkRoute(msg, r)
			}
		}
		has[r.Name] = r
	}
}

// checkRoute: no route, and no listener, to a cluster that the client was not given (rule 12).
func (c *client) checkRoute(msg *message, r *snapshot.Resource) {
	for _, name := range r.Refs(cds) {
		switch {
		case c.envoy && c.refused[name]: // the refusal is withheld
		case c.has[cds][name] == nil:
			c.m.fatalf("%s %s routes to %s, which the client has not got", short(msg.typeURL), r.Name, name)
		case c.envoy && c.has[eds][name] == nil && len(c.has[cds][name].Refs(eds)) > 0 && c.cold[name] && !c.fed[name]:
			c.m.fatalf("%s %s routes to %s, which has no endpoints yet", short(msg.typeURL), r.Name, name)
		}
	}
}

// remove: nothing is taken away that is in use (rule 12).
func (c *client) remove(msg *message, name string) {
	typeURL := msg.typeURL
	switch typeURL {
	case cds:
		delete(c.cold, name)
		for _, l := range c.has[lds] {
			if !c.delta && c.versions[lds] == "" {
				break // who uses a part of what it refused, and never accepted any, cannot say so when it comes back
			}
			c.checkUse(msg, l, name)
			for _, route := range l.Refs(rds) {
				if r := c.has[rds][route]; r != nil && (c.delta || c.versions[rds] != "") {
					c.checkUse(msg, r, name)
				}
				for host, r := range c.has[vhd] {
					if resource.TableOf(host) == route {
						c.checkUse(msg, r, name)
					}
				}
			}
		}
	case rds:
		for _, l := range c.has[lds] {
			if !c.left[typeURL+name] && slices.Contains(l.Refs(rds), name) && c.has[rds][name] != nil {
				c.m.fatalf("RDS %s is removed, and listener %s uses it", name, l.Name)
			}
		}
	case eds:
		if !c.left[typeURL+name] && c.has[cds][name] != nil && c.has[eds][name] != nil {
			c.m.fatalf("EDS %s is removed, and its cluster is there", name)
		}
	}
	delete(c.has[typeURL], name)
}

func (c *client) checkUse(msg *message, r *snapshot.Resource, cluster string) {
	if c.has[cds][cluster] == nil || !c.delta && !c.m.knew[msg][cluster] {
		return // the server could not know that the client has it, from an earlier stream perhaps
	}
	if slices.Contains(r.Refs(cds), cluster) {
		c.m.fatalf("CDS %s is removed, and %s routes to it", cluster, r.Name)
	}
}

// converged: the client has what it should have, and the server knows it.
func (c *client) converged() {
	snap := c.m.snap
	if !c.delta {
		snap = snap.Whole()
	}
	if len(c.bare) > 0 {
		c.m.fatalf("tables %v wait for their hosts", slices.Sorted(maps.Keys(c.bare)))
	}
	for _, u := range modelTypes {
		want := map[string]string{}
		for _, r := range snap.Set(u).All() {
			if u == cds || u == lds || slices.Contains(c.names[u], r.Name) || u == vhd && slices.Contains(c.names[rds], resource.TableOf(r.Name)) {
				want[r.Name] = r.Version
			}
		}
		got := map[string]string{}
		for name, r := range c.has[u] {
			got[name] = r.Version
		}
		if !maps.Equal(got, want) {
			c.m.fatalf("%s: the client has %v, and should have %v", short(u), got, want)
		}
		if k := c.m.server.of(u); c.asked[u] && !k.complete() {
			c.m.fatalf("%s: the server does not know that it is done: %+v", short(u), k)
		} else if len(k.entries) > 0 && c.delta {
			for name, e := range k.entries {
				c.m.fatalf("%s: %s is remembered for nothing: %+v", short(u), name, e)
			}
		}
	}
}
