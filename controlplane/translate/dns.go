package translate

import (
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscommonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnspb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	carespb "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const (
	dnsClusterName = "envoy.clusters.dns"
	caresName      = "envoy.network.dns_resolver.cares"

	// dnsJitter spreads the questions of many proxies.
	dnsJitter = 500 * time.Millisecond
	// dnsFailure and dnsFailureMax are the back-off while a name does not resolve. Envoy's own is the refresh rate.
	dnsFailure, dnsFailureMax = time.Second, 30 * time.Second
	// dnsMinRefresh is how soon a TTL may ask again.
	dnsMinRefresh = time.Second
)

var lookupFamilies = map[ir.Family]dnscommonpb.DnsLookupFamily{
	ir.FamilyPreferIPv4: dnscommonpb.DnsLookupFamily_V4_PREFERRED,
	ir.FamilyIPv4:       dnscommonpb.DnsLookupFamily_V4_ONLY,
	ir.FamilyIPv6:       dnscommonpb.DnsLookupFamily_V6_ONLY,
	ir.FamilyBoth:       dnscommonpb.DnsLookupFamily_ALL,
}

// resolved makes a cluster one whose endpoints are looked up. They stand in it, since Envoy resolves no name of EDS. It is
// the extension and not the types STRICT_DNS and LOGICAL_DNS, whose fields for TTL, failures and jitter are deprecated.
func resolved(m *clusterpb.Cluster, c *ir.Cluster) {
	config := &dnspb.DnsCluster{
		DnsRefreshRate:               duration(c.DNS.Refresh),
		DnsFailureRefreshRate:        &dnspb.DnsCluster_RefreshRate{BaseInterval: duration(dnsFailure), MaxInterval: duration(dnsFailureMax)},
		RespectDnsTtl:                c.DNS.RespectTTL,
		DnsJitter:                    duration(dnsJitter),
		DnsLookupFamily:              lookupFamilies[c.DNS.Family],
		AllAddressesInSingleEndpoint: c.DNS.First,
		DnsMinRefreshRate:            duration(dnsMinRefresh),
	}
	if len(c.DNS.Resolvers) > 0 {
		cares := &carespb.CaresDnsResolverConfig{}
		for _, a := range c.DNS.Resolvers {
			cares.Resolvers = append(cares.Resolvers, address(a, false))
		}
		config.TypedDnsResolverConfig = &corepb.TypedExtensionConfig{Name: caresName, TypedConfig: pack(cares)}
	}
	m.ClusterDiscoveryType = &clusterpb.Cluster_ClusterType{ClusterType: &clusterpb.Cluster_CustomClusterType{
		Name: dnsClusterName, TypedConfig: pack(config),
	}}
	m.EdsClusterConfig = nil
	m.LoadAssignment = assignment(c)
}
