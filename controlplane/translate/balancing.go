package translate

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	maglevpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Envoy's names of the policies that stand in a cluster's load_balancing_policy.
const (
	ringHashName = "envoy.load_balancing_policies.ring_hash"
	maglevName   = "envoy.load_balancing_policies.maglev"
)

// balancing is how the cluster's endpoint is chosen. What a request is hashed on stands in the policy itself, as the
// language has it, and not in each route to the cluster: Envoy reads it there since 1.35, and for TCP too.
func balancing(m *clusterpb.Cluster, c *ir.Cluster) {
	var zones *commonpb.LocalityLbConfig_LocalityWeightedLbConfig
	if len(c.ZoneWeights) > 0 {
		zones = &commonpb.LocalityLbConfig_LocalityWeightedLbConfig{}
		if c.Policy != ir.RingHash && c.Policy != ir.Maglev {
			m.CommonLbConfig.LocalityConfigSpecifier = &clusterpb.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
				LocalityWeightedLbConfig: &clusterpb.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
			}
		}
	}
	switch c.Policy {
	case ir.RoundRobin:
		m.LbPolicy = clusterpb.Cluster_ROUND_ROBIN
		if c.SlowStart != nil {
			m.LbConfig = &clusterpb.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterpb.Cluster_RoundRobinLbConfig{SlowStartConfig: slowStart(c.SlowStart)}}
		}
	case ir.LeastRequest:
		m.LbPolicy = clusterpb.Cluster_LEAST_REQUEST
		m.LbConfig = &clusterpb.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterpb.Cluster_LeastRequestLbConfig{
			ChoiceCount:     wrapperspb.UInt32(c.ChoiceCount),
			SlowStartConfig: slowStart(c.SlowStart),
		}}
	case ir.Random:
		m.LbPolicy = clusterpb.Cluster_RANDOM
	case ir.RingHash:
		m.LoadBalancingPolicy = onePolicy(ringHashName, &ringpb.RingHash{
			HashFunction:              ringpb.RingHash_XX_HASH,
			MinimumRingSize:           wrapperspb.UInt64(uint64(c.MinRingSize)),
			MaximumRingSize:           wrapperspb.UInt64(uint64(c.MaxRingSize)),
			ConsistentHashingLbConfig: hashing(c),
			LocalityWeightedLbConfig:  zones,
		})
	case ir.Maglev:
		m.LoadBalancingPolicy = onePolicy(maglevName, &maglevpb.Maglev{
			TableSize:                 wrapperspb.UInt64(uint64(c.TableSize)),
			ConsistentHashingLbConfig: hashing(c),
			LocalityWeightedLbConfig:  zones,
		})
	}
}

// aggressionKey is where Envoy would look for another value, in a runtime that our bootstrap does not have; it wants a name.
const aggressionKey = "sluice.slow_start.aggression"

func slowStart(s *ir.SlowStart) *clusterpb.Cluster_SlowStartConfig {
	if s == nil {
		return nil
	}
	return &clusterpb.Cluster_SlowStartConfig{
		SlowStartWindow:  duration(s.Window),
		Aggression:       &corepb.RuntimeDouble{DefaultValue: s.Aggression, RuntimeKey: aggressionKey},
		MinWeightPercent: &typepb.Percent{Value: float64(s.MinWeight)},
	}
}

func onePolicy(name string, config proto.Message) *clusterpb.LoadBalancingPolicy {
	return &clusterpb.LoadBalancingPolicy{Policies: []*clusterpb.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: &corepb.TypedExtensionConfig{Name: name, TypedConfig: pack(config)},
	}}}
}

// hashing is what a request is hashed on.
func hashing(c *ir.Cluster) *commonpb.ConsistentHashingLbConfig {
	m := &commonpb.ConsistentHashingLbConfig{}
	for _, k := range c.HashOn {
		p := &routepb.RouteAction_HashPolicy{Terminal: k.Terminal}
		switch k.Kind {
		case ir.HashHeader:
			p.PolicySpecifier = &routepb.RouteAction_HashPolicy_Header_{Header: &routepb.RouteAction_HashPolicy_Header{HeaderName: k.Name}}
		case ir.HashCookie:
			cookie := &routepb.RouteAction_HashPolicy_Cookie{Name: k.Name, Path: k.Path}
			if k.MakeCookie {
				cookie.Ttl = duration(k.TTL)
			}
			p.PolicySpecifier = &routepb.RouteAction_HashPolicy_Cookie_{Cookie: cookie}
		case ir.HashQueryParam:
			p.PolicySpecifier = &routepb.RouteAction_HashPolicy_QueryParameter_{QueryParameter: &routepb.RouteAction_HashPolicy_QueryParameter{Name: k.Name}}
		case ir.HashSourceAddress:
			p.PolicySpecifier = &routepb.RouteAction_HashPolicy_ConnectionProperties_{ConnectionProperties: &routepb.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true}}
		}
		m.HashPolicy = append(m.HashPolicy, p)
	}
	return m
}

// hashKey is what the endpoint is known by to Envoy's hashing policies; nil is its address.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash
func hashKey(e *ir.Endpoint) *corepb.Metadata {
	if e.HashKey == "" {
		return nil
	}
	return &corepb.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"envoy.lb": {Fields: map[string]*structpb.Value{"hash_key": structpb.NewStringValue(e.HashKey)}},
	}}
}
