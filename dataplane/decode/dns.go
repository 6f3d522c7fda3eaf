package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnscommonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnspb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	carespb "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// defaultRefresh is Envoy's dns_refresh_rate.
const defaultRefresh = 5 * time.Second

// Envoy's families; those of the cluster's own field have other numbers.
var (
	dnsFamilies = map[dnscommonpb.DnsLookupFamily]config.Family{
		dnscommonpb.DnsLookupFamily_V4_ONLY:      config.FamilyIPv4,
		dnscommonpb.DnsLookupFamily_V6_ONLY:      config.FamilyIPv6,
		dnscommonpb.DnsLookupFamily_V4_PREFERRED: config.FamilyPreferIPv4,
		dnscommonpb.DnsLookupFamily_ALL:          config.FamilyBoth,
	}
	clusterFamilies = map[clusterpb.Cluster_DnsLookupFamily]config.Family{
		clusterpb.Cluster_V4_ONLY:      config.FamilyIPv4,
		clusterpb.Cluster_V6_ONLY:      config.FamilyIPv6,
		clusterpb.Cluster_V4_PREFERRED: config.FamilyPreferIPv4,
		clusterpb.Cluster_ALL:          config.FamilyBoth,
	}
)

// backOff is how a failure's refresh rate is written, in either place.
type backOff interface {
	GetBaseInterval() *durationpb.Duration
	GetMaxInterval() *durationpb.Duration
}

// dnsCluster reads the extension.
func (d *decoder) dnsCluster(at string, m *dnspb.DnsCluster, c *clusterpb.Cluster) *config.DNS {
	out := &config.DNS{
		First:      m.GetAllAddressesInSingleEndpoint(),
		Family:     dnsFamilies[m.GetDnsLookupFamily()],
		RespectTTL: m.GetRespectDnsTtl(),
		Refresh:    d.positive(at+".dns_refresh_rate", m.GetDnsRefreshRate(), defaultRefresh),
		MinRefresh: d.duration(at+".dns_min_refresh_rate", m.GetDnsMinRefreshRate(), 0),
		Jitter:     d.duration(at+".dns_jitter", m.GetDnsJitter(), 0),
	}
	if rate := m.GetDnsFailureRefreshRate(); rate != nil {
		d.backOff(at+".dns_failure_refresh_rate", rate, out)
	}
	d.resolvers(at+".typed_dns_resolver_config", m.GetTypedDnsResolverConfig(), out)
	d.names(c, out)
	return out
}

// dnsType reads the types STRICT_DNS and LOGICAL_DNS, and the cluster's own fields.
func (d *decoder) dnsType(c *clusterpb.Cluster) *config.DNS {
	out := &config.DNS{
		First:      c.GetType() == clusterpb.Cluster_LOGICAL_DNS,
		Family:     clusterFamilies[c.GetDnsLookupFamily()],
		RespectTTL: c.GetRespectDnsTtl(),
		Refresh:    d.positive("dns_refresh_rate", c.GetDnsRefreshRate(), defaultRefresh),
		Jitter:     d.duration("dns_jitter", c.GetDnsJitter(), 0),
	}
	if rate := c.GetDnsFailureRefreshRate(); rate != nil {
		d.backOff("dns_failure_refresh_rate", rate, out)
	}
	d.resolvers("typed_dns_resolver_config", c.GetTypedDnsResolverConfig(), out)
	d.names(c, out)
	return out
}

// backOff reads the refresh rate of failures: as Envoy, up to ten times the base if there is no maximum.
func (d *decoder) backOff(at string, m backOff, out *config.DNS) {
	out.FailureBase = d.positive(at+".base_interval", m.GetBaseInterval(), defaultRefresh)
	out.FailureMax = d.positive(at+".max_interval", m.GetMaxInterval(), 10*out.FailureBase)
	if out.FailureMax < out.FailureBase {
		d.refuse(at+".max_interval", "got %v, want base_interval, %v, or more", out.FailureMax, out.FailureBase)
	}
}

// resolvers reads which name servers are asked.
func (d *decoder) resolvers(at string, m *corepb.TypedExtensionConfig, out *config.DNS) {
	if out.FailureBase == 0 {
		out.FailureBase, out.FailureMax = out.Refresh, out.Refresh
	}
	if m == nil {
		return
	}
	cares, ok := open[*carespb.CaresDnsResolverConfig](d, m.GetTypedConfig())
	if !ok {
		d.missing(at, "got another type, want %s", caresResolver.Name)
		return
	}
	for i, a := range cares.GetResolvers() {
		address := d.address(fmt.Sprintf("%s.typed_config.resolvers[%d]", at, i), a)
		if address.Port() == 0 {
			address = netip.AddrPortFrom(address.Addr(), 53)
		}
		out.Resolvers = append(out.Resolvers, address)
	}
}

// names reads the endpoints, in order.
func (d *decoder) names(c *clusterpb.Cluster, out *config.DNS) {
	if c.GetEdsClusterConfig() != nil {
		d.refuse("eds_cluster_config", "got it in a cluster by DNS, want EDS")
	}
	if c.GetLoadAssignment() == nil {
		d.refuse("load_assignment", "got none, want the names of a cluster by DNS")
		return
	}
	for i, l := range c.GetLoadAssignment().GetEndpoints() {
		for j, e := range l.GetLbEndpoints() {
			if one, ok := d.named(i, j, e); ok {
				one.Priority, one.Locality, one.LocalityWeight = l.GetPriority(), localityOf(l), l.GetLoadBalancingWeight().GetValue()
				out.Names = append(out.Names, one)
			}
		}
	}
	if out.First && len(out.Names) != 1 {
		d.refuse("load_assignment.endpoints", "got %d endpoints, want one of a cluster by LOGICAL_DNS", len(out.Names))
	}
}

// maxHost is the longest name that DNS can hold, in bytes (RFC 1035, 2.3.4).
const maxHost = 253

// named reads one; false leaves it out.
func (d *decoder) named(i, j int, m *endpointpb.LbEndpoint) (config.NamedEndpoint, bool) {
	socket := m.GetEndpoint().GetAddress().GetSocketAddress()
	host := strings.ToLower(socket.GetAddress())
	valid := host != "" && len(host) <= maxHost+1 && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	if !valid || socket.GetPortValue() == 0 || socket.GetPortValue() > 65535 {
		d.missing(fmt.Sprintf("load_assignment.endpoints[%d].lb_endpoints[%d]", i, j), "got %s, want a name and a port",
			quote(fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())))
		return config.NamedEndpoint{}, false
	}
	out := config.NamedEndpoint{
		Host: host, Port: uint16(socket.GetPortValue()), Weight: number(m.GetLoadBalancingWeight(), 1), HashKey: hashKey(m),
	}
	out.Unhealthy, out.Draining = told(m)
	return out, true
}
