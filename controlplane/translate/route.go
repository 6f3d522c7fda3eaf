package translate

import (
	"slices"

	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// routeTable is the routes of one listener of the language, without its hosts: they come by VHDS, so that an edit of one does
// not send the others again. A table that has none says so, since Envoy waits for the first host of one by VHDS.
func routeTable(t *ir.RouteTable) *routepb.RouteConfiguration {
	m := &routepb.RouteConfiguration{
		Name: t.Name,
		// "shop.example.com:8443" is the host shop.example.com.
		IgnorePortInHostMatching: true,
		// A route to a cluster that is not there yet answers 503 alone; the others are used.
		ValidateClusters: wrapperspb.Bool(false),
		// The connection manager adds it for strangers, whatever the router is told about x-envoy-* headers.
		RequestHeadersToRemove: []string{"x-envoy-external-address"},
	}
	if len(t.Hosts) > 0 {
		m.Vhds = &routepb.Vhds{ConfigSource: ads()}
	}
	longest := 0
	for _, h := range t.Hosts {
		for i := range h.Rules {
			if r := h.Rules[i].Respond; r != nil {
				longest = max(longest, len(r.Body))
			}
		}
	}
	if longest > maxBody {
		m.MaxDirectResponseBodySizeBytes = wrapperspb.UInt32(uint32(longest))
	}
	return m
}

// virtualHost is a host of a table. on is the socket of the table's listener, for redirects.
func virtualHost(name string, h *ir.VirtualHost, on socket) *routepb.VirtualHost {
	m := &routepb.VirtualHost{Name: name, Domains: []string{h.Host}}
	for i := range h.Rules {
		for _, one := range rewritten(&h.Rules[i], route(&h.Rules[i], h.Host, on)) {
			m.Routes = append(m.Routes, retried(&h.Rules[i], one)...)
		}
	}
	return m
}

// route is one match of one rule. Its name is the rule's identity: dumps and access logs show it.
func route(r *ir.Rule, host string, on socket) *routepb.Route {
	m := &routepb.Route{Name: r.ID, Match: match(&r.Match)}
	switch {
	case r.Redirect != nil:
		m.Action = &routepb.Route_Redirect{Redirect: redirect(r.Redirect, host, on)}
	case r.Respond != nil:
		direct := &routepb.DirectResponseAction{Status: uint32(r.Respond.Status)}
		if r.Respond.Body != "" {
			direct.Body = &corepb.DataSource{Specifier: &corepb.DataSource_InlineString{InlineString: r.Respond.Body}}
		}
		m.Action = &routepb.Route_DirectResponse{DirectResponse: direct}
	default:
		m.Action = &routepb.Route_Route{Route: forward(r)}
	}
	m.RequestHeadersToRemove, m.RequestHeadersToAdd = headerChanges(r.RequestHeaders)
	m.ResponseHeadersToRemove, m.ResponseHeadersToAdd = headerChanges(r.ResponseHeaders)
	if r.Respond != nil && r.Respond.ContentType != "" {
		m.ResponseHeadersToAdd = slices.Insert(m.ResponseHeadersToAdd, 0, contentType(r.Respond.ContentType))
	}
	return m
}

// forward sends the request to one of some clusters. The timeout is always stated, since Envoy's own is 15 s.
func forward(r *ir.Rule) *routepb.RouteAction {
	m := &routepb.RouteAction{Timeout: duration(r.Timeout), UpgradeConfigs: upgrades(r.Upgrades), RequestMirrorPolicies: mirrors(r.Mirrors)}
	if r.IdleTimeout != nil {
		m.IdleTimeout = duration(*r.IdleTimeout)
	}
	if len(r.Backends) == 1 {
		m.ClusterSpecifier = &routepb.RouteAction_Cluster{Cluster: r.Backends[0].Cluster}
		return m
	}
	weighted := &routepb.WeightedCluster{}
	for _, b := range r.Backends {
		weighted.Clusters = append(weighted.Clusters, &routepb.WeightedCluster_ClusterWeight{
			Name:   b.Cluster,
			Weight: wrapperspb.UInt32(b.Weight),
		})
	}
	m.ClusterSpecifier = &routepb.RouteAction_WeightedClusters{WeightedClusters: weighted}
	return m
}
