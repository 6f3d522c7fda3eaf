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
)

// Resources are Envoy v3 messages by type URL and then by name. All five types are there, empty ones too.
type Resources map[string]map[string]proto.Message

// Fleet says in Envoy's words what f says. It is pure, and equal input gives equal bytes. An error means that f breaks
// a promise of package ir; it names the resource, and nothing is returned.
func Fleet(f *ir.Fleet) (Resources, error) {
	b := builder{resources: Resources{}}
	for _, t := range resource.PushOrder {
		b.resources[t.URL] = map[string]proto.Message{}
	}
	for _, c := range f.Clusters {
		b.add(resource.ClusterType, c.Name, cluster(c))
		if c.DNS == nil {
			b.add(resource.EndpointType, c.Name, assignment(c))
		}
	}
	for i := range f.Certificates {
		c := &f.Certificates[i]
		b.add(resource.SecretType, c.Name, secret(c))
	}
	for i := range f.TrustBundles {
		t := &f.TrustBundles[i]
		b.add(resource.SecretType, trustSecret(t.Name), trust(t))
	}
	shared := len(f.TicketKeys) > 0
	if shared {
		b.add(resource.SecretType, ticketKeysName, ticketKeys(f.TicketKeys))
	}
	bySource := tablesBySource(f)
	for i := range f.Listeners {
		l := &f.Listeners[i]
		b.add(resource.ListenerType, l.Name, listener(l, shared, bySource))
	}
	sockets := socketsOf(f)
	for _, t := range f.RouteTables {
		b.add(resource.RouteType, t.Name, routeTable(t, sockets[t.Name]))
	}
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	return b.resources, nil
}

// builder collects resources, and what is wrong with them.
type builder struct {
	resources Resources
	errs      []error
}

// add checks m as Envoy would on arrival (names set, numbers in range), so that a mistake is seen here and not as a NACK.
func (b *builder) add(typeURL, name string, m proto.Message) {
	t, _ := resource.ByURL(typeURL)
	if _, twice := b.resources[typeURL][name]; twice {
		b.errs = append(b.errs, fmt.Errorf("translate: %s %q: stands twice", t.Short, name))
		return
	}
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			b.errs = append(b.errs, fmt.Errorf("translate: %s %q: %w", t.Short, name, err))
			return
		}
	}
	b.resources[typeURL][name] = m
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
