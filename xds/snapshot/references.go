package snapshot

import (
	"fmt"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	// The messages that hold references inside typed_config must be linked in, or they could not be looked into.
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// referring are the fields, at any depth, that hold the name of another resource. The fields of EnvoyGrpc and HttpUri
// are not here: they may name a cluster of the bootstrap.
var referring = map[protoreflect.FullName]string{
	"envoy.config.route.v3.RouteAction.cluster":                                                 resource.ClusterType,
	"envoy.config.route.v3.WeightedCluster.ClusterWeight.name":                                  resource.ClusterType,
	"envoy.config.route.v3.RouteAction.RequestMirrorPolicy.cluster":                             resource.ClusterType,
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.cluster":                            resource.ClusterType,
	"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight.name": resource.ClusterType,
	"envoy.extensions.clusters.aggregate.v3.ClusterConfig.clusters":                             resource.ClusterType,
	"envoy.extensions.filters.network.http_connection_manager.v3.Rds.route_config_name":         resource.RouteType,
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig.name":                            resource.SecretType,
}

// static holds, for a referring field, the field beside it without which the name means something of the bootstrap.
var static = map[protoreflect.FullName]protoreflect.Name{
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig.name": "sds_config",
}

// references walks the whole message, into every Any, and collects the names that it refers to.
func references(m proto.Message) ([4][]string, error) {
	var refs [4][]string
	add := func(typeURL, name string) {
		i := refIndex(typeURL)
		refs[i] = append(refs[i], name)
	}
	if c, ok := m.(*clusterpb.Cluster); ok {
		if name := endpointsOf(c); name != "" {
			add(resource.EndpointType, name)
		}
	}
	err := walk(m.ProtoReflect(), add)
	for i := range refs {
		refs[i] = sortedUnique(refs[i])
	}
	return refs, err
}

func walk(m protoreflect.Message, add func(typeURL, name string)) error {
	if a, ok := m.Interface().(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("got a %s, which cannot be searched for references: %w", a.GetTypeUrl(), err)
		}
		return walk(inner.ProtoReflect(), add)
	}
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.") {
		return nil
	}
	var err error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if typeURL, ok := referring[fd.FullName()]; ok {
			if beside, ok := static[fd.FullName()]; ok && !m.Has(m.Descriptor().Fields().ByName(beside)) {
				return true
			}
			if fd.IsList() {
				for i := range v.List().Len() {
					add(typeURL, v.List().Get(i).String())
				}
			} else {
				add(typeURL, v.String())
			}
			return true
		}
		err = descend(fd, v, add)
		return err == nil
	})
	return err
}

func descend(fd protoreflect.FieldDescriptor, v protoreflect.Value, add func(typeURL, name string)) (err error) {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return nil
		}
		v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			err = walk(v.Message(), add)
			return err == nil
		})
	case fd.Message() == nil:
	case fd.IsList():
		for i := range v.List().Len() {
			if err := walk(v.List().Get(i).Message(), add); err != nil {
				return err
			}
		}
	default:
		return walk(v.Message(), add)
	}
	return err
}
