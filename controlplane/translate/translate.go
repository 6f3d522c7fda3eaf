// Package translate turns a fleet's ir into the Envoy v3 resources that its proxies, stock Envoy and ours, get.
//
// In: an ir.Fleet, complete and free of conflicts. Out: resources by type URL and name; equal input gives equal bytes.
// It must not know documents, files, streams or versions, and decides nothing that compile could have decided: it
// only says in Envoy's words what ir says, with every default stated (see defaults.go), since Envoy's own differ.
package translate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Resources are Envoy v3 messages by type URL and then by name. All types of resource.PushOrder are there, empty ones too.
type Resources map[string]map[string]proto.Message

// Translation is what a fleet says in Envoy's words, to be made where it is needed.
type Translation struct {
	// Entries are by type URL: an entry has a key if all that it is made of is known by it, so that what did not change is not
	// made again. Making is pure, and equal input gives equal bytes; an error means that the fleet breaks a promise of package
	// ir, and names the resource.
	Entries map[string][]snapshot.Entry

	tables   []*ir.RouteTable
	sockets  map[string]socket
	bySource map[string]bool
}

// Fleet is all that Entries make. With an error nothing is returned.
func Fleet(f *ir.Fleet) (Resources, error) {
	out := Resources{}
	var errs []error
	entries := FleetEntries(f, nil).Entries
	for _, t := range resource.PushOrder {
		out[t.URL] = map[string]proto.Message{}
		for _, e := range entries[t.URL] {
			m, err := e.Make(e)
			switch _, twice := out[t.URL][e.Name]; {
			case twice:
				errs = append(errs, fmt.Errorf("translate: %s %q: stands twice", t.Short, e.Name))
			case err != nil:
				errs = append(errs, err)
			default:
				out[t.URL][e.Name] = m
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// FleetEntries reads f, and keeps it. What before, which may be nil, has of the very same tables is taken as it is.
func FleetEntries(f *ir.Fleet, before *Translation) *Translation {
	out := &Translation{Entries: map[string][]snapshot.Entry{}, tables: f.RouteTables, sockets: socketsOf(f)}
	clusters, endpoints := make([]snapshot.Entry, 0, len(f.Clusters)), make([]snapshot.Entry, 0, len(f.Clusters))
	for _, c := range f.Clusters {
		clusters = append(clusters, snapshot.Entry{Name: c.Name, Key: c, Make: makeCluster})
		if c.DNS == nil {
			endpoints = append(endpoints, snapshot.Entry{Name: c.Name, Key: c, Make: makeAssignment})
		}
	}
	out.Entries[resource.ClusterType], out.Entries[resource.EndpointType] = clusters, endpoints
	for i := range f.Certificates {
		c := &f.Certificates[i]
		out.add(resource.SecretType, c.Name, func() proto.Message { return secret(c) })
	}
	for i := range f.TrustBundles {
		t := &f.TrustBundles[i]
		out.add(resource.SecretType, trustSecret(t.Name), func() proto.Message { return trust(t) })
	}
	shared := len(f.TicketKeys) > 0
	if shared {
		out.add(resource.SecretType, ticketKeysName, func() proto.Message { return ticketKeys(f.TicketKeys) })
	}
	out.routes(before)
	for i := range f.Listeners {
		l := &f.Listeners[i]
		out.add(resource.ListenerType, l.Name, func() proto.Message { return listener(l, shared, out.bySource) })
	}
	return out
}

// routes are the tables and their hosts.
func (t *Translation) routes(before *Translation) {
	if before != nil && slices.Equal(before.tables, t.tables) && maps.Equal(before.sockets, t.sockets) {
		t.bySource = before.bySource
		for _, url := range []string{resource.RouteType, resource.VirtualHostType} {
			t.Entries[url] = before.Entries[url]
		}
		return
	}
	t.bySource = tablesBySource(t.tables)
	hosts := 0
	for _, table := range t.tables {
		hosts += len(table.Hosts)
	}
	tables, all := make([]snapshot.Entry, 0, len(t.tables)), make([]snapshot.Entry, 0, hosts)
	for _, table := range t.tables {
		tables = append(tables, snapshot.Entry{Name: table.Name, Key: table, Make: makeTable})
		for _, h := range table.Hosts {
			all = append(all, snapshot.Entry{Name: resource.HostName(table.Name, h.Name), Key: hostKey{h, t.sockets[table.Name]}, Make: makeHost})
		}
	}
	// "web/http/…" stands behind "web/http-2/…": sorted once, the list can be known again.
	slices.SortFunc(all, func(a, b snapshot.Entry) int { return strings.Compare(a.Name, b.Name) })
	t.Entries[resource.RouteType], t.Entries[resource.VirtualHostType] = tables, all
}

// hostKey is all that a virtual host's resource is made of, but for its name.
type hostKey struct {
	host *ir.VirtualHost
	on   socket
}

var (
	makeCluster    = checked(resource.ClusterType, func(e snapshot.Entry) proto.Message { return cluster(e.Key.(*ir.Cluster)) })
	makeAssignment = checked(resource.EndpointType, func(e snapshot.Entry) proto.Message { return assignment(e.Key.(*ir.Cluster)) })
	makeTable      = checked(resource.RouteType, func(e snapshot.Entry) proto.Message { return routeTable(e.Key.(*ir.RouteTable)) })
	makeHost       = checked(resource.VirtualHostType, func(e snapshot.Entry) proto.Message {
		key := e.Key.(hostKey)
		return virtualHost(e.Name, key.host, key.on)
	})
)

// add adds what is made anew each time.
func (t *Translation) add(typeURL, name string, create func() proto.Message) {
	t.Entries[typeURL] = append(t.Entries[typeURL], snapshot.Entry{Name: name, Make: checked(typeURL, func(snapshot.Entry) proto.Message { return create() })})
}

// checked checks what is made as Envoy would on arrival (names set, numbers in range), so that a mistake is seen here and not
// as a NACK.
func checked(typeURL string, create func(snapshot.Entry) proto.Message) func(snapshot.Entry) (proto.Message, error) {
	return func(e snapshot.Entry) (proto.Message, error) {
		m := create(e)
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				t, _ := resource.ByURL(typeURL)
				return nil, fmt.Errorf("translate: %s %q: %w", t.Short, e.Name, err)
			}
		}
		return m, nil
	}
}

// pack puts an extension's configuration into an Any. Bytes are deterministic, maps included, so that an unchanged
// listener keeps its version.
func pack(m proto.Message) *anypb.Any {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		// Only a string that is not UTF-8 can do this, and definition lets none through.
		panic(fmt.Sprintf("translate: pack %s: %v", m.ProtoReflect().Descriptor().FullName(), err))
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}

// ads is "the stream that this came on".
func ads() *corepb.ConfigSource {
	return &corepb.ConfigSource{
		ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}},
		ResourceApiVersion:    corepb.ApiVersion_V3,
	}
}

var duration = durationpb.New
