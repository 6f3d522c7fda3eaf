package assemble

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// hostsPatience is how long a table waits for the first of its virtual hosts: as long as Envoy does.
const hostsPatience = 15 * time.Second

// hosts are the virtual hosts that come apart from their tables (VHDS), as stock Envoy has them: all that the control plane
// has, asked for by the wildcard. Guarded by Assembler.mu, but for waiting.
type hosts struct {
	*set[*config.VirtualHost]
	// heard are the tables of which something came: a host, or the removal of one.
	heard map[string]bool
	// tables are those that something refers to.
	tables map[string]bool
	// serving are the active ones, and joined the tables that were made of them, by table. stale are those to be made again.
	serving map[string]map[string]*config.VirtualHost
	joined  map[string]joined
	stale   map[string]bool
	// waiting are tables of which nothing came yet. Guarded by the Assembler's turn.
	waiting awaited
	asked   bool
}

// joined is a table with its hosts, and the one without of which it was made.
type joined struct{ thin, whole *config.RouteTable }

func newHosts(of *set[*config.VirtualHost], expired func()) *hosts {
	return &hosts{
		set: of, heard: map[string]bool{}, serving: map[string]map[string]*config.VirtualHost{}, joined: map[string]joined{},
		stale: map[string]bool{}, waiting: awaited{patience: hostsPatience, expired: expired},
	}
}

// updateTables takes an RDS response. In state of the world a table whose hosts are apart is refused, as by Envoy: they could
// never come.
func (a *Assembler) updateTables(u client.Update, now time.Time) map[string]error {
	fresh := a.tables.judge(u, now, false)
	for _, r := range u.Resources {
		if e := fresh[r.Name]; e != nil && e.value.HostsApart && a.options.StateOfTheWorld {
			delete(fresh, r.Name)
			a.tables.refuse(r, now, fmt.Errorf("route table %q: vhds: got it in state of the world, want it in delta only", r.Name))
		}
	}
	a.tables.commit(fresh)
	return a.tables.refusals(u)
}

// updateHosts takes a VHDS response. A domain that another host of the table has is refused, as in Envoy.
func (a *Assembler) updateHosts(u client.Update, now time.Time) map[string]error {
	h := a.hosts
	for _, name := range u.Removed {
		h.hear(name)
	}
	for _, r := range u.Resources {
		h.hear(r.Name)
	}
	fresh := h.judge(u, now, true)
	maps.DeleteFunc(fresh, func(name string, _ *entry[*config.VirtualHost]) bool { return !h.tables[resource.TableOf(name)] }) // see keep
	h.refuseTwice(u, fresh, a.tables.latest, now)
	h.commit(fresh)
	return h.refusals(u)
}

func (h *hosts) hear(name string) {
	if table := resource.TableOf(name); h.tables[table] {
		h.heard[table] = true
	}
}

// refuseTwice takes those out of fresh that have another's domain: one that stays, or one that comes first by name.
func (h *hosts) refuseTwice(u client.Update, fresh map[string]*entry[*config.VirtualHost], tables map[string]*entry[*config.RouteTable], now time.Time) {
	touched := map[string]bool{}
	for name, e := range fresh {
		if have := h.latest[name]; have == nil || !slices.Equal(have.value.Domains, e.value.Domains) {
			touched[resource.TableOf(name)] = true
		}
	}
	if len(touched) == 0 {
		return
	}
	owners := map[[2]string]string{}
	for name, e := range h.latest {
		if table := resource.TableOf(name); touched[table] && fresh[name] == nil {
			for _, domain := range e.value.Domains {
				owners[[2]string{table, domain}] = name
			}
		}
	}
	for table := range touched {
		if t := tables[table]; t != nil {
			for _, host := range t.value.Hosts {
				for _, domain := range host.Domains {
					owners[[2]string{table, domain}] = host.Name
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		table := resource.TableOf(name)
		for _, domain := range fresh[name].value.Domains {
			owner, taken := owners[[2]string{table, domain}]
			if !taken {
				owners[[2]string{table, domain}] = name
				continue
			}
			delete(fresh, name)
			i := slices.IndexFunc(u.Resources, func(r client.Resource) bool { return r.Name == name })
			h.refuse(u.Resources[i], now, fmt.Errorf("virtual host %q: domains: got %q, which virtual host %q has", name, domain, owner))
			break
		}
	}
}

// expectHosts begins to wait for the first hosts of new tables.
func (a *Assembler) expectHosts() {
	h := a.hosts
	for name, t := range a.tables.latest {
		if t.value.HostsApart && !h.heard[name] && !h.waiting.waits(name) {
			h.waiting.expect(name)
		}
	}
	for name := range h.waiting.until {
		if t := a.tables.latest[name]; t == nil || !t.value.HostsApart || h.heard[name] {
			h.waiting.came(name)
		}
	}
}

// stopWaiting ends the wait for hosts that did not come in time.
func (a *Assembler) stopWaiting() {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hosts
	before := maps.Clone(h.waiting.until)
	h.waiting.expire()
	for name := range before {
		if !h.waiting.waits(name) {
			h.heard[name] = true
			a.options.Logger.Warn("a route table goes on without virtual hosts: none of them came", "table", name, "within", hostsPatience)
		}
	}
}

// activateHosts moves to active what routes to clusters that serve.
func (a *Assembler) activateHosts() {
	h := a.hosts
	for name, e := range h.latest {
		if h.active[name] != e && a.clustersServe(clustersOfHost(nil, e.value)) {
			h.active[name] = e
			h.serve(name, e.value)
		}
	}
	for name := range h.active {
		if h.latest[name] == nil {
			delete(h.active, name)
			h.serve(name, nil)
		}
	}
}

// serve notes that a host is active; nil is none.
func (h *hosts) serve(name string, host *config.VirtualHost) {
	table := resource.TableOf(name)
	h.stale[table] = true
	if host == nil {
		delete(h.serving[table], name)
		if len(h.serving[table]) == 0 {
			delete(h.serving, table)
		}
		return
	}
	if h.serving[table] == nil {
		h.serving[table] = map[string]*config.VirtualHost{}
	}
	h.serving[table][name] = host
}

// hostsServe tells whether a table may take over: something of it came, and no host that came waits for clusters.
func (a *Assembler) hostsServe(t *config.RouteTable) bool {
	if !t.HostsApart {
		return true
	}
	if !a.hosts.heard[t.Name] {
		return false
	}
	if active := a.tables.active[t.Name]; active != nil && active.value.HostsApart {
		return true
	}
	for name := range a.hosts.latest {
		if a.hosts.active[name] == nil && resource.TableOf(name) == t.Name {
			return false
		}
	}
	return true
}

// whole are the active tables with their hosts. What did not change is the very same.
func (h *hosts) whole(tables map[string]*entry[*config.RouteTable]) map[string]*config.RouteTable {
	out := make(map[string]*config.RouteTable, len(tables))
	for name, e := range tables {
		out[name] = e.value
		if !e.value.HostsApart {
			continue
		}
		j := h.joined[name]
		if j.thin != e.value || h.stale[name] {
			list := slices.Collect(maps.Values(h.serving[name]))
			slices.SortFunc(list, func(a, b *config.VirtualHost) int { return strings.Compare(a.Name, b.Name) })
			j = joined{e.value, e.value.With(list)}
			h.joined[name] = j
		}
		out[name] = j.whole
	}
	clear(h.stale)
	maps.DeleteFunc(h.joined, func(name string, _ joined) bool { return tables[name] == nil })
	return out
}

// keep forgets the hosts of tables that nobody refers to, and what was heard of them: the control plane takes them to be gone with
// their table, as in Envoy, and would never say that one of them went.
func (h *hosts) keep(tables map[string]bool) {
	if maps.Equal(h.tables, tables) {
		return
	}
	h.tables = tables
	maps.DeleteFunc(h.latest, func(name string, _ *entry[*config.VirtualHost]) bool { return !tables[resource.TableOf(name)] })
	maps.DeleteFunc(h.refused, func(name string, _ refusal) bool { return !tables[resource.TableOf(name)] })
	maps.DeleteFunc(h.heard, func(name string, _ bool) bool { return !tables[name] })
}

// dumped are the tables with their hosts, as Envoy dumps them.
func (a *Assembler) dumped() *set[*config.RouteTable] {
	out := *a.tables
	out.latest = maps.Clone(a.tables.latest)
	names := slices.Sorted(maps.Keys(a.hosts.latest))
	for name, e := range out.latest {
		if !e.value.HostsApart {
			continue
		}
		with := *e
		value := bytes.Clone(e.raw.GetValue())
		for _, host := range names {
			if resource.TableOf(host) == name {
				value = protowire.AppendTag(value, 2, protowire.BytesType) // RouteConfiguration.virtual_hosts
				value = protowire.AppendBytes(value, a.hosts.latest[host].raw.GetValue())
			}
		}
		with.raw = &anypb.Any{TypeUrl: e.raw.GetTypeUrl(), Value: value}
		out.latest[name] = &with
	}
	return &out
}
