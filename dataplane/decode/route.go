package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/xds/operator"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// What Envoy takes where a route says nothing.
const (
	defaultRouteTimeout = 15 * time.Second
	defaultMaxBody      = 4096
)

// routeTable reads an RDS resource.
func (d *decoder) routeTable() *config.RouteTable {
	return d.routeConfiguration("", d.message.(*routepb.RouteConfiguration))
}

// routeConfiguration reads a table, in its own resource (at is empty) or in a listener.
func (d *decoder) routeConfiguration(at string, m *routepb.RouteConfiguration) *config.RouteTable {
	if at != "" {
		at += "."
	}
	t := &config.RouteTable{Name: m.GetName(), IgnorePort: m.GetIgnorePortInHostMatching()}
	maxBody := int(number(m.GetMaxDirectResponseBodySizeBytes(), defaultMaxBody))
	names, domains := map[string]bool{}, map[string]string{}
	for i, vh := range m.GetVirtualHosts() {
		here := fmt.Sprintf("%svirtual_hosts[%d]", at, i)
		if names[vh.GetName()] {
			d.refuse(here+".name", "got %s twice, want it once", quote(vh.GetName()))
		}
		names[vh.GetName()] = true
		t.Hosts = append(t.Hosts, d.virtualHost(here+".", vh, maxBody, domains))
	}
	if m.GetVhds() != nil {
		if at != "" {
			d.refuse(at+"vhds", "got hosts apart from a table that stands in its listener: %s", notSupported)
		}
		if m.GetVhds().GetConfigSource().GetAds() == nil {
			d.missing(at+"vhds.config_source", "want ads")
		}
		t.HostsApart = true
	}
	return t
}

// hostResource reads a VHDS resource.
func (d *decoder) hostResource() *config.VirtualHost {
	m := d.message.(*routepb.VirtualHost)
	if table := resource.TableOf(m.GetName()); table == "" {
		d.refuse("name", "got %s, want the name of a route table, a slash, and a name", quote(m.GetName()))
	}
	return d.virtualHost("", m, math.MaxInt, map[string]string{})
}

// virtualHost reads one, whose fields are at a path that ends in a dot or is empty; domains are those of its table so far.
func (d *decoder) virtualHost(at string, m *routepb.VirtualHost, maxBody int, domains map[string]string) *config.VirtualHost {
	host := &config.VirtualHost{Name: m.GetName()}
	for i, domain := range m.GetDomains() {
		domain = strings.ToLower(domain)
		place := fmt.Sprintf("%sdomains[%d]", at, i)
		d.domain(place, domain)
		if first, twice := domains[domain]; twice {
			d.refuse(place, "got %s, which %s is too", quote(domain), first)
		}
		domains[domain] = place
		host.Domains = append(host.Domains, domain)
	}
	for i, r := range m.GetRoutes() {
		place := fmt.Sprintf("%sroutes[%d]", at, i)
		route := d.route(place, r, maxBody)
		route.Retry = d.retry(place+".route.retry_policy", r.GetRoute().GetRetryPolicy(), d.bodyLimit(place, m, r))
		host.Routes = append(host.Routes, route)
	}
	return host
}

// domain wants at most one '*', at the beginning or at the end.
func (d *decoder) domain(at, domain string) {
	rest := strings.TrimPrefix(domain, "*")
	if rest == domain {
		rest = strings.TrimSuffix(domain, "*")
	}
	if strings.Contains(rest, "*") || domain == "" {
		d.refuse(at, `got %s, want a host, "*.suffix", "prefix.*" or "*"`, quote(domain))
	}
}

func (d *decoder) route(at string, m *routepb.Route, maxBody int) *config.Route {
	r := &config.Route{Name: m.GetName(), Match: d.match(at+".match", m.GetMatch())}
	r.RequestHeaders = d.headerChanges(at+".request_headers_to", m.GetRequestHeadersToRemove(), m.GetRequestHeadersToAdd(), operator.OfRequest)
	for i, o := range m.GetRequestHeadersToAdd() {
		if key := o.GetHeader().GetKey(); resource.SteersEnvoy(strings.ToLower(key)) {
			d.refuse(fmt.Sprintf("%s.request_headers_to_add[%d].header.key", at, i), "got %s, by which Envoy's router takes orders: %s", quote(key), notSupported)
		}
	}
	r.ResponseHeaders = d.headerChanges(at+".response_headers_to", m.GetResponseHeadersToRemove(), m.GetResponseHeadersToAdd(), operator.OfResponse)
	switch a := m.GetAction().(type) {
	case *routepb.Route_Route:
		d.forward(at+".route", a.Route, r)
	case *routepb.Route_Redirect:
		r.Redirect = d.redirect(at+".redirect", a.Redirect)
	case *routepb.Route_DirectResponse:
		body := inline(a.DirectResponse.GetBody())
		if len(body) > maxBody {
			d.refuse(at+".direct_response.body", "got %d bytes, want at most max_direct_response_body_size_bytes, %d", len(body), maxBody)
		}
		r.Respond = &config.Response{Status: int(a.DirectResponse.GetStatus()), Body: string(body)}
	default:
		d.missing(at, "got no action, want route, redirect or direct_response")
	}
	return r
}

func (d *decoder) forward(at string, m *routepb.RouteAction, r *config.Route) {
	r.Timeout = d.duration(at+".timeout", m.GetTimeout(), defaultRouteTimeout)
	if m.GetIdleTimeout() != nil {
		idle := d.duration(at+".idle_timeout", m.GetIdleTimeout(), 0)
		r.IdleTimeout = &idle
	}
	r.Upgrades = upgrades(d, at, m.GetUpgradeConfigs())
	r.Rewrite = d.rewrite(at, m)
	r.Mirrors = d.mirrors(at, m.GetRequestMirrorPolicies())
	switch s := m.GetClusterSpecifier().(type) {
	case *routepb.RouteAction_Cluster:
		r.Clusters = []config.WeightedCluster{{Name: s.Cluster, Weight: 1}}
	case *routepb.RouteAction_WeightedClusters:
		for i, c := range s.WeightedClusters.GetClusters() {
			if c.GetName() == "" {
				d.missing(fmt.Sprintf("%s.weighted_clusters.clusters[%d]", at, i), `got "", want a name`)
			}
			// Unset is 0 to Envoy too.
			r.Clusters = append(r.Clusters, config.WeightedCluster{Name: c.GetName(), Weight: c.GetWeight().GetValue()})
		}
		d.weights(at+".weighted_clusters", r.Clusters, s.WeightedClusters.GetTotalWeight())
	case *routepb.RouteAction_ClusterHeader:
		if !http1.ValidName(s.ClusterHeader) {
			d.refuse(at+".cluster_header", "got %s, want the name of a header: %s", quote(s.ClusterHeader), notSupported)
		}
		r.ClusterHeader = strings.ToLower(s.ClusterHeader)
	default:
		d.missing(at, "got no cluster, want cluster, weighted_clusters or cluster_header")
	}
}

// weights wants a sum above 0 that 32 bits can hold, and the total, if stated, to be the sum.
func (d *decoder) weights(at string, clusters []config.WeightedCluster, total *wrapperspb.UInt32Value) {
	var sum uint64
	for _, c := range clusters {
		sum += uint64(c.Weight)
	}
	switch {
	case sum == 0:
		d.refuse(at, "got weights that sum to 0, want more")
	case sum > math.MaxUint32:
		d.refuse(at, "got weights that sum to %d, want at most %d", sum, uint32(math.MaxUint32))
	case total != nil && uint64(total.GetValue()) != sum:
		d.refuse(at+".total_weight", "got %d, want %d, the sum of the weights", total.GetValue(), sum)
	}
}

// redirectStatus is the status of each of Envoy's names.
var redirectStatus = map[routepb.RedirectAction_RedirectResponseCode]int{
	routepb.RedirectAction_MOVED_PERMANENTLY:  301,
	routepb.RedirectAction_FOUND:              302,
	routepb.RedirectAction_SEE_OTHER:          303,
	routepb.RedirectAction_TEMPORARY_REDIRECT: 307,
	routepb.RedirectAction_PERMANENT_REDIRECT: 308,
}

func (d *decoder) redirect(at string, m *routepb.RedirectAction) *config.Redirect {
	r := &config.Redirect{
		Scheme: m.GetSchemeRedirect(),
		Host:   m.GetHostRedirect(),
		Port:   uint16(m.GetPortRedirect()),
		Status: redirectStatus[m.GetResponseCode()],
		Path:   m.GetPathRedirect(), StripQuery: m.GetStripQuery(),
		Rewrite: d.rewrite(at, redirected{m}),
	}
	if m.GetPortRedirect() > math.MaxUint16 {
		d.refuse(at+".port_redirect", "got %d, want 1 to %d", m.GetPortRedirect(), math.MaxUint16)
	}
	if m.GetHttpsRedirect() {
		r.Scheme = "https"
	}
	return r
}
