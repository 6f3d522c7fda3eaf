// Package decode turns Envoy's v3 resources into the proxy's own nouns, and refuses what this proxy does not do.
//
// In: a resource as it came over xDS. Out: a value of package config, or an *Error that names the resource and each
// field at fault: that is the text of the NACK. One walk over all populated and unknown fields asks one table (Table)
// whether a field is implemented, harmless or refused, so that nothing is silently ignored. It must not know streams,
// versions or what else is configured: a resource is judged by itself.
package decode

import (
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// MaxResourceBytes limits one resource, serialized. It is far above any that a person means, and keeps a broken
// control plane from filling the memory.
const MaxResourceBytes = 16 << 20

// Listener decodes an envoy.config.listener.v3.Listener. The names of route tables and certificates that it refers to
// are in the value.
func Listener(resource *anypb.Any) (*config.Listener, error) {
	var l *config.Listener
	err := decode(resource, listenerKind, func(d *decoder) { l = d.listener() })
	if err != nil {
		return nil, err
	}
	return l, nil
}

// RouteTable decodes an envoy.config.route.v3.RouteConfiguration.
func RouteTable(resource *anypb.Any) (*config.RouteTable, error) {
	var t *config.RouteTable
	err := decode(resource, routeKind, func(d *decoder) { t = d.routeTable() })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// VirtualHost decodes an envoy.config.route.v3.VirtualHost that came by VHDS. Its table's max_direct_response_body_size_bytes is
// not asked, and whether another host of the table has its domains is for who knows them.
func VirtualHost(resource *anypb.Any) (*config.VirtualHost, error) {
	var h *config.VirtualHost
	err := decode(resource, hostKind, func(d *decoder) { h = d.hostResource() })
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Cluster decodes an envoy.config.cluster.v3.Cluster.
func Cluster(resource *anypb.Any) (*config.Cluster, error) {
	var c *config.Cluster
	err := decode(resource, clusterKind, func(d *decoder) { c = d.cluster() })
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Assignment decodes an envoy.config.endpoint.v3.ClusterLoadAssignment. Endpoints that Envoy would not send to
// (UNHEALTHY, DRAINING, TIMEOUT) are left out.
func Assignment(resource *anypb.Any) (*config.Assignment, error) {
	var a *config.Assignment
	err := decode(resource, endpointKind, func(d *decoder) { a = d.assignment() })
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Secret is what came by SDS: exactly one is set.
type Secret struct {
	Certificate *config.Certificate
	TicketKeys  *config.TicketKeys
	Validation  *config.Validation
}

// SecretOf decodes an envoy.extensions.transport_sockets.tls.v3.Secret that holds a certificate and its key, session
// ticket keys, or whose certificates are taken.
func SecretOf(resource *anypb.Any) (*Secret, error) {
	var s *Secret
	err := decode(resource, secretKind, func(d *decoder) { s = d.secret() })
	if err != nil {
		return nil, err
	}
	return s, nil
}
