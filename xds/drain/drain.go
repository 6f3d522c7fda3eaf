// Package drain says whose connections end when a listener changes.
//
// In: a listener as it is and as it is to be, serialized. Out: which connections stock Envoy drains, and which the Go
// proxy. It must not know who has the listener, or how many connections there are: it is a rule, and the tests of
// e2e hold both kinds of proxy against it.
package drain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	connectionlimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// deterministic, since bytes are compared.
var deterministic = proto.MarshalOptions{Deterministic: true}

// Effect is what one kind of proxy does. The zero value drains nobody.
type Effect struct {
	// All connections of the listener drain.
	All bool
	// Chains are the filter chains whose connections drain, if not all do, sorted.
	Chains []string
	// Names are server names whose connections drain: they are on a chain that is not theirs any more.
	Names []string
	// Why is what changed, for people.
	Why string
}

// Drains says whether any connection does.
func (e Effect) Drains() bool { return e.All || len(e.Chains) > 0 || len(e.Names) > 0 }

// Of compares a listener with what comes in its place; nil is a listener that is not there.
func Of(old, next *anypb.Any) (envoy, sluice Effect, err error) {
	if old == nil {
		return Effect{}, Effect{}, nil
	}
	if next == nil {
		gone := Effect{All: true, Why: "the listener is removed"}
		return gone, gone, nil
	}
	var a, b listenerpb.Listener
	for _, side := range []struct {
		from *anypb.Any
		to   *listenerpb.Listener
	}{{old, &a}, {next, &b}} {
		if err := side.from.UnmarshalTo(side.to); err != nil {
			return Effect{}, Effect{}, fmt.Errorf("drain: %w", err)
		}
	}
	sluice, err = ofSluice(&a, &b)
	return ofEnvoy(&a, &b), sluice, err
}

// ofEnvoy: where nothing but filter chains differs, those that are no more, to the byte, drain; else a new listener takes
// the socket, and the old one drains as a whole. (ListenerMessageUtil::filterChainOnlyChange,
// FilterChainManagerImpl::findExistingFilterChain;
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/lds)
func ofEnvoy(a, b *listenerpb.Listener) Effect {
	x, y := proto.CloneOf(a), proto.CloneOf(b)
	for _, l := range []*listenerpb.Listener{x, y} {
		l.FilterChains, l.DefaultFilterChain = nil, nil
	}
	if fields := differing(x, y); len(fields) > 0 {
		return Effect{All: true, Why: strings.Join(fields, ", ") + " of the listener changed"}
	}
	return chains(a, b, func(*listenerpb.FilterChain, *listenerpb.FilterChain) bool { return false })
}

// chains finds the chains of a that b has not, neither as they are nor as something that still serves their connections.
func chains(a, b *listenerpb.Listener, still func(old, next *listenerpb.FilterChain) bool) Effect {
	var e Effect
	var why []string
	claimed := map[*listenerpb.FilterChain]bool{}
	next := all(b)
	for _, old := range all(a) {
		at := slices.IndexFunc(next, func(n *listenerpb.FilterChain) bool {
			return !claimed[n] && n.GetName() == old.GetName() && (proto.Equal(old, n) || still(old, n))
		})
		if at >= 0 {
			claimed[next[at]] = true
			continue
		}
		e.Chains = append(e.Chains, old.GetName())
		at = slices.IndexFunc(next, func(n *listenerpb.FilterChain) bool { return n.GetName() == old.GetName() })
		if at < 0 {
			why = append(why, old.GetName()+" is removed")
			continue
		}
		why = append(why, strings.Join(differing(old, next[at]), ", ")+" of "+old.GetName()+" changed")
	}
	slices.Sort(e.Chains)
	e.Why = strings.Join(why, "; ")
	return e
}

func all(l *listenerpb.Listener) []*listenerpb.FilterChain {
	if l.GetDefaultFilterChain() == nil {
		return l.GetFilterChains()
	}
	return append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain())
}

// ofSluice is the rule of the Go proxy (dataplane/live: applyListener, chain.serves): another word on the PROXY protocol
// drains all; else a chain's connections live on if how they are served stays. What is matched, presented, limited and
// routed is changed under them.
func ofSluice(a, b *listenerpb.Listener) (Effect, error) {
	if proxyHeader(a) != proxyHeader(b) {
		return Effect{All: true, Why: "whether connections begin with a PROXY header changed"}, nil
	}
	var failed error
	e := chains(a, b, func(old, next *listenerpb.FilterChain) bool {
		x, err := served(old)
		if err == nil {
			var y *listenerpb.FilterChain
			if y, err = served(next); err == nil {
				return proto.Equal(x, y)
			}
		}
		failed = err
		return false
	})
	moved(&e, a, b)
	return e, failed
}

// moved adds the connections whose server name another chain takes now: they drain one by one.
func moved(e *Effect, a, b *listenerpb.Listener) {
	old := ownersOf(a)
	for _, name := range slices.Sorted(maps.Keys(ownersOf(b))) {
		before, now := old.of(name), ownersOf(b)[name]
		if before == "" || before == now || slices.Contains(e.Chains, before) {
			continue
		}
		e.Names = append(e.Names, name)
		if e.Why != "" {
			e.Why += "; "
		}
		e.Why += fmt.Sprintf("%s goes from %s to %s", name, before, now)
	}
}

// owners are filter chains by server name; "" is the default.
type owners map[string]string

func ownersOf(l *listenerpb.Listener) owners {
	o := owners{}
	if c := l.GetDefaultFilterChain(); c != nil {
		o[""] = c.GetName()
	}
	for _, c := range l.GetFilterChains() {
		if len(c.GetFilterChainMatch().GetServerNames()) == 0 {
			o[""] = c.GetName()
		}
		for _, name := range c.GetFilterChainMatch().GetServerNames() {
			o[name] = c.GetName()
		}
	}
	return o
}

// of is the chain that has served a name: the exact one, else that of the longest suffix, else the default.
func (o owners) of(name string) string {
	if chain, ok := o[name]; ok {
		return chain
	}
	for rest := strings.TrimPrefix(name, "*."); ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return o[""]
		}
		if chain, ok := o["*."+after]; ok {
			return chain
		}
		rest = after
	}
}

func proxyHeader(l *listenerpb.Listener) string {
	for _, f := range l.GetListenerFilters() {
		var m proxyprotocolpb.ProxyProtocol
		if f.GetTypedConfig().MessageIs(&m) && f.GetTypedConfig().UnmarshalTo(&m) == nil {
			return fmt.Sprint("yes, optional: ", m.GetAllowRequestsWithoutProxyProtocol())
		}
	}
	return ""
}

// served is a chain with all left out that can change under its connections.
func served(c *listenerpb.FilterChain) (*listenerpb.FilterChain, error) {
	out := proto.CloneOf(c)
	out.FilterChainMatch, out.TransportSocketConnectTimeout = nil, nil
	if socket := out.GetTransportSocket().GetTypedConfig(); socket != nil {
		var tls tlspb.DownstreamTlsContext
		if socket.MessageIs(&tls) {
			if err := socket.UnmarshalTo(&tls); err != nil {
				return nil, fmt.Errorf("drain: filter chain %q: %w", c.GetName(), err)
			}
			clients := &tlspb.DownstreamTlsContext{RequireClientCertificate: tls.GetRequireClientCertificate(), CommonTlsContext: &tlspb.CommonTlsContext{
				ValidationContextType: tls.GetCommonTlsContext().GetValidationContextType(),
			}}
			if err := anypb.MarshalFrom(socket, clients, deterministic); err != nil {
				return nil, fmt.Errorf("drain: filter chain %q: %w", c.GetName(), err)
			}
		}
	}
	var limit connectionlimitpb.ConnectionLimit
	var source setfilterstatepb.Config
	out.Filters = slices.DeleteFunc(out.Filters, func(f *listenerpb.Filter) bool {
		return f.GetTypedConfig().MessageIs(&limit) || f.GetTypedConfig().MessageIs(&source)
	})
	for _, f := range out.Filters {
		var manager hcmpb.HttpConnectionManager
		if !f.GetTypedConfig().MessageIs(&manager) {
			continue
		}
		if err := f.GetTypedConfig().UnmarshalTo(&manager); err != nil {
			return nil, fmt.Errorf("drain: filter chain %q: %w", c.GetName(), err)
		}
		manager.RouteSpecifier = nil
		if err := anypb.MarshalFrom(f.GetTypedConfig(), &manager, deterministic); err != nil {
			return nil, fmt.Errorf("drain: filter chain %q: %w", c.GetName(), err)
		}
	}
	return out, nil
}

// differing are the names of the fields in which two messages of one type differ, in the order of their numbers.
func differing(a, b proto.Message) (fields []string) {
	x, y := a.ProtoReflect(), b.ProtoReflect()
	list := x.Descriptor().Fields()
	for i := range list.Len() {
		f := list.Get(i)
		if !sameField(f, x, y) {
			fields = append(fields, string(f.Name()))
		}
	}
	return fields
}

func sameField(f protoreflect.FieldDescriptor, x, y protoreflect.Message) bool {
	one, other := x.Type().New(), y.Type().New()
	if x.Has(f) {
		one.Set(f, x.Get(f))
	}
	if y.Has(f) {
		other.Set(f, y.Get(f))
	}
	return proto.Equal(one.Interface(), other.Interface())
}
