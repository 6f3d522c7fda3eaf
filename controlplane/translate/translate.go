// Package translate turns a fleet's ir into the Envoy v3 resources that its proxies, stock Envoy and ours, get.
//
// In: an ir.Fleet, complete and free of conflicts. Out: resources by type URL and name; equal input gives equal bytes.
// It must not know documents, files, streams or versions, and decides nothing that compile could have decided: it
// only says in Envoy's words what ir says, with every default stated (see defaults.go), since Envoy's own differ.
package translate

import (
	"errors"
	"fmt"

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

// Entries are what f says in Envoy's words, by type URL, to be made where it is needed: an entry has a key if all that it is
// made of is known by it, so that what did not change is not made again. Making is pure, and equal input gives equal bytes;
// an error means that f breaks a promise of package ir, and names the resource.
type Entries map[string][]snapshot.Entry

// Fleet is all that Entries make. With an error nothing is returned.
func Fleet(f *ir.Fleet) (Resources, error) {
	out := Resources{}
	var errs []error
	entries := FleetEntries(f)
	for _, t := range resource.PushOrder {
		out[t.URL] = map[string]proto.Message{}
		for _, e := range entries[t.URL] {
			m, err := e.Make()
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

// FleetEntries reads f, and keeps it.
func FleetEntries(f *ir.Fleet) Entries {
	out := Entries{}
	for _, c := range f.Clusters {
		out.add(resource.ClusterType, c.Name, c, func() proto.Message { return cluster(c) })
		if c.DNS == nil {
			out.add(resource.EndpointType, c.Name, c, func() proto.Message { return assignment(c) })
		}
	}
	for i := range f.Certificates {
		c := &f.Certificates[i]
		out.add(resource.SecretType, c.Name, nil, func() proto.Message { return secret(c) })
	}
	for i := range f.TrustBundles {
		t := &f.TrustBundles[i]
		out.add(resource.SecretType, trustSecret(t.Name), nil, func() proto.Message { return trust(t) })
	}
	shared := len(f.TicketKeys) > 0
	if shared {
		out.add(resource.SecretType, ticketKeysName, nil, func() proto.Message { return ticketKeys(f.TicketKeys) })
	}
	bySource := tablesBySource(f)
	for i := range f.Listeners {
		l := &f.Listeners[i]
		out.add(resource.ListenerType, l.Name, nil, func() proto.Message { return listener(l, shared, bySource) })
	}
	sockets := socketsOf(f)
	for _, t := range f.RouteTables {
		on := sockets[t.Name]
		out.add(resource.RouteType, t.Name, t, func() proto.Message { return routeTable(t) })
		for _, h := range t.Hosts {
			name := resource.HostName(t.Name, h.Name)
			out.add(resource.VirtualHostType, name, hostKey{h, on}, func() proto.Message { return virtualHost(name, h, on) })
		}
	}
	return out
}

// hostKey is all that a virtual host's resource is made of.
type hostKey struct {
	host *ir.VirtualHost
	on   socket
}

// add checks what it makes as Envoy would on arrival (names set, numbers in range), so that a mistake is seen here and not as
// a NACK.
func (e Entries) add(typeURL, name string, key any, create func() proto.Message) {
	e[typeURL] = append(e[typeURL], snapshot.Entry{Name: name, Key: key, Make: func() (proto.Message, error) {
		m := create()
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				t, _ := resource.ByURL(typeURL)
				return nil, fmt.Errorf("translate: %s %q: %w", t.Short, name, err)
			}
		}
		return m, nil
	}})
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
