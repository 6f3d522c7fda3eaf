package decode

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// kind is one type of resource.
type kind struct {
	typeURL string
	// word is the kind for people.
	word string
	// name is the field that names the resource.
	name protoreflect.Name
	new  func() proto.Message
}

var (
	listenerKind = kind{resource.ListenerType, "listener", "name", func() proto.Message { return &listenerpb.Listener{} }}
	routeKind    = kind{resource.RouteType, "route table", "name", func() proto.Message { return &routepb.RouteConfiguration{} }}
	hostKind     = kind{resource.VirtualHostType, "virtual host", "name", func() proto.Message { return &routepb.VirtualHost{} }}
	clusterKind  = kind{resource.ClusterType, "cluster", "name", func() proto.Message { return &clusterpb.Cluster{} }}
	endpointKind = kind{resource.EndpointType, "assignment", "cluster_name", func() proto.Message { return &endpointpb.ClusterLoadAssignment{} }}
	secretKind   = kind{resource.SecretType, "secret", "name", func() proto.Message { return &tlspb.Secret{} }}
)

var kinds = []kind{listenerKind, routeKind, hostKind, clusterKind, endpointKind, secretKind}

// Name reads the name of a resource of any of our types, and nothing else.
func Name(r *anypb.Any) (string, error) {
	for _, k := range kinds {
		if k.typeURL != r.GetTypeUrl() {
			continue
		}
		m, err := k.unmarshal(r)
		if err != nil {
			return "", err
		}
		return k.nameOf(m), nil
	}
	return "", fmt.Errorf("resource: got type %s, want a listener, route table, virtual host, cluster, assignment or secret", quote(r.GetTypeUrl()))
}

func (k kind) nameOf(m proto.Message) string {
	r := m.ProtoReflect()
	return r.Get(r.Descriptor().Fields().ByName(k.name)).String()
}

// unmarshal keeps unknown fields, for the walk to find.
func (k kind) unmarshal(r *anypb.Any) (proto.Message, error) {
	fail := func(format string, args ...any) error {
		return &Error{Kind: k.word, Refusals: []Refusal{{Reason: fmt.Sprintf(format, args...)}}}
	}
	if r.GetTypeUrl() != k.typeURL {
		return nil, fail("got type %s, want %s", quote(r.GetTypeUrl()), k.typeURL)
	}
	if n := len(r.GetValue()); n > MaxResourceBytes {
		return nil, fail("got %d bytes, want at most %d", n, MaxResourceBytes)
	}
	m := k.new()
	if err := unmarshal(r.GetValue(), m); err != nil {
		return nil, fail("%v", err)
	}
	return m, nil
}

// unmarshal bounds the depth, so that no message can exhaust the stack.
func unmarshal(value []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{RecursionLimit: 100}).Unmarshal(value, m); err != nil {
		return fmt.Errorf("want a serialized %s: %s", m.ProtoReflect().Descriptor().FullName(), shorten(err.Error(), maxReasonLength))
	}
	return nil
}

// decoder judges one resource.
type decoder struct {
	kind    kind
	message proto.Message
	// opened are the extensions that the walk has unpacked. What is not here was refused.
	opened map[*anypb.Any]proto.Message
	// refused are the paths at fault, and holders those above them, so that nothing is told twice.
	refused, holders map[string]bool
	refusals         []Refusal
	more             int
	// regexes are those compiled so far, by pattern.
	regexes map[string]*regexp.Regexp
}

// decode walks the resource, and then has it read. Both run even if the first found something, so that one NACK tells
// all; so readers must live with fields that are missing.
func decode(r *anypb.Any, k kind, read func(d *decoder)) error {
	m, err := k.unmarshal(r)
	if err != nil {
		return err
	}
	d := &decoder{kind: k, message: m, opened: map[*anypb.Any]proto.Message{}, refused: map[string]bool{}, holders: map[string]bool{}}
	name := k.nameOf(m)
	if name == "" {
		d.refuse(string(k.name), `got "", want a name`)
	}
	(&walker{decoder: d, within: m.ProtoReflect().Descriptor().FullName()}).message(m.ProtoReflect())
	d.validate("", m)
	read(d)
	if len(d.refusals) == 0 {
		return nil
	}
	return &Error{Kind: k.word, Name: name, Refusals: d.refusals, More: d.more}
}

// refuse notes what is wrong with a field, unless the field or one that holds it is refused already.
func (d *decoder) refuse(field, format string, args ...any) {
	for at, ok := field, true; ok; at, ok = parent(at) {
		if d.refused[at] {
			return
		}
	}
	if len(d.refused) < maxRemembered {
		d.refused[field] = true
		for at, ok := parent(field); ok; at, ok = parent(at) {
			d.holders[at] = true
		}
	}
	if len(d.refusals) == maxRefusals {
		d.more++
		return
	}
	d.refusals = append(d.refusals, Refusal{Field: field, Reason: oneLine(fmt.Sprintf(format, args...))})
}

// missing notes that something is not there, unless that is because what stands there instead was refused.
func (d *decoder) missing(field, format string, args ...any) {
	if !d.holders[field] {
		d.refuse(field, format, args...)
	}
}

// parent cuts the last step of a path.
func parent(field string) (string, bool) {
	cut := strings.LastIndexAny(field, ".[")
	return field[:max(cut, 0)], cut > 0
}

// open returns an extension that the walk has unpacked, if it is a T.
func open[T proto.Message](d *decoder, extension *anypb.Any) (T, bool) {
	m, ok := d.opened[extension].(T)
	return m, ok
}

// duration reads a time of 0 or more; unset is what Envoy takes then.
func (d *decoder) duration(field string, v *durationpb.Duration, unset time.Duration) time.Duration {
	if v == nil {
		return unset
	}
	if err := v.CheckValid(); err != nil {
		d.refuse(field, "want a duration: %v", err)
		return unset
	}
	if v.AsDuration() < 0 {
		d.refuse(field, "got %v, want 0s or more", v.AsDuration())
	}
	return v.AsDuration()
}

// positive reads a time of more than 0.
func (d *decoder) positive(field string, v *durationpb.Duration, unset time.Duration) time.Duration {
	got := d.duration(field, v, unset)
	if got == 0 {
		d.refuse(field, "got 0s, want more")
	}
	return got
}
