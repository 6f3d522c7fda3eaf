package decode

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	maglevpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringpb "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// What Envoy takes where a policy says nothing.
const (
	defaultChoiceCount = 2
	// maxChoiceCount bounds the work per request.
	maxChoiceCount     = 100
	defaultMinRingSize = 1024
	// maxRingSize is Envoy's own bound, and its default.
	maxRingSize      = 8 << 20
	defaultTableSize = 65537
	maxTableSize     = 5000011

	defaultPanicThreshold = 50
	defaultAggression     = 1
	defaultMinWeight      = 0.1
)

// balancing reads how an endpoint is chosen. Options of the policy that is not used mean nothing to Envoy either.
func (d *decoder) balancing(m *clusterpb.Cluster, c *config.Cluster) {
	c.PanicThreshold = defaultPanicThreshold
	if p := m.GetCommonLbConfig().GetHealthyPanicThreshold(); p != nil {
		// Of 0 to 100, as Envoy's own rule has it.
		c.PanicThreshold = uint32(p.GetValue())
	}
	c.LocalityWeighted = m.GetCommonLbConfig().GetLocalityWeightedLbConfig() != nil
	if m.GetLoadBalancingPolicy() != nil {
		if c.LocalityWeighted {
			d.refuse("common_lb_config.locality_weighted_lb_config", "got it beside load_balancing_policy, want it in the policy")
		}
		d.policy("load_balancing_policy", m.GetLoadBalancingPolicy(), c)
		return
	}
	switch m.GetLbPolicy() {
	case clusterpb.Cluster_ROUND_ROBIN:
		c.SlowStart = d.slowStart("round_robin_lb_config.slow_start_config", m.GetRoundRobinLbConfig().GetSlowStartConfig())
	case clusterpb.Cluster_LEAST_REQUEST:
		c.Policy = config.LeastRequest
		c.SlowStart = d.slowStart("least_request_lb_config.slow_start_config", m.GetLeastRequestLbConfig().GetSlowStartConfig())
		c.ChoiceCount = number(m.GetLeastRequestLbConfig().GetChoiceCount(), defaultChoiceCount)
		if c.ChoiceCount < 2 || c.ChoiceCount > maxChoiceCount {
			d.refuse("least_request_lb_config.choice_count", "got %d, want 2 to %d: %s", c.ChoiceCount, maxChoiceCount, notSupported)
		}
	case clusterpb.Cluster_RANDOM:
		c.Policy = config.Random
	}
}

// slowStart reads it; without a window there is none.
func (d *decoder) slowStart(at string, m *clusterpb.Cluster_SlowStartConfig) config.SlowStart {
	s := config.SlowStart{Window: d.duration(at+".slow_start_window", m.GetSlowStartWindow(), 0)}
	if s.Window == 0 {
		return s
	}
	s.Aggression, s.MinWeight = defaultAggression, defaultMinWeight
	if a := m.GetAggression(); a != nil {
		// The other way round: what is no number fails too.
		if s.Aggression = a.GetDefaultValue(); !(s.Aggression > 0) || math.IsInf(s.Aggression, 1) {
			d.refuse(at+".aggression.default_value", "got %v, want more than 0", s.Aggression)
		}
	}
	if p := m.GetMinWeightPercent(); p != nil {
		s.MinWeight = p.GetValue() / 100
	}
	return s
}

// policy reads the policy that stands in a message of its own: the first, as in Envoy, which has all that we have.
func (d *decoder) policy(at string, m *clusterpb.LoadBalancingPolicy, c *config.Cluster) {
	if len(m.GetPolicies()) == 0 {
		d.missing(at+".policies", "got none, want one")
		return
	}
	packed := m.GetPolicies()[0].GetTypedExtensionConfig().GetTypedConfig()
	at += ".policies[0].typed_extension_config.typed_config"
	if ring, ok := open[*ringpb.RingHash](d, packed); ok {
		c.Policy = config.RingHash
		c.MinRingSize = d.size(at+".minimum_ring_size", ring.GetMinimumRingSize(), defaultMinRingSize, maxRingSize)
		c.MaxRingSize = d.size(at+".maximum_ring_size", ring.GetMaximumRingSize(), maxRingSize, maxRingSize)
		if c.MinRingSize > c.MaxRingSize {
			d.refuse(at+".maximum_ring_size", "got %d, want minimum_ring_size, %d, or more", c.MaxRingSize, c.MinRingSize)
		}
		c.LocalityWeighted = ring.GetLocalityWeightedLbConfig() != nil
		c.HashOn = d.hashOn(at+".consistent_hashing_lb_config", ring.GetConsistentHashingLbConfig())
		return
	}
	if maglev, ok := open[*maglevpb.Maglev](d, packed); ok {
		c.Policy = config.Maglev
		c.TableSize = d.size(at+".table_size", maglev.GetTableSize(), defaultTableSize, maxTableSize)
		// A table of one place has no permutations, and Envoy would divide by 0.
		if c.TableSize < 2 || !big.NewInt(int64(c.TableSize)).ProbablyPrime(0) {
			d.refuse(at+".table_size", "got %d, want a prime number", c.TableSize)
		}
		c.LocalityWeighted = maglev.GetLocalityWeightedLbConfig() != nil
		c.HashOn = d.hashOn(at+".consistent_hashing_lb_config", maglev.GetConsistentHashingLbConfig())
		return
	}
	d.missing(at, "got no policy, want %s or %s", ringHashPolicy.Name, maglevPolicy.Name)
}

// size reads a number of 1 to most.
func (d *decoder) size(at string, v *wrapperspb.UInt64Value, unset, most uint32) uint32 {
	if v == nil {
		return unset
	}
	if v.GetValue() < 1 || v.GetValue() > uint64(most) {
		d.refuse(at, "got %d, want 1 to %d", v.GetValue(), most)
		return unset
	}
	return uint32(v.GetValue())
}

// hashOn reads what a request is hashed on. None hashes nothing: requests go to any endpoint.
func (d *decoder) hashOn(at string, m *commonpb.ConsistentHashingLbConfig) []config.HashKey {
	var keys []config.HashKey
	made := false
	for i, p := range m.GetHashPolicy() {
		here := fmt.Sprintf("%s.hash_policy[%d]", at, i)
		k := config.HashKey{Terminal: p.GetTerminal()}
		switch s := p.GetPolicySpecifier().(type) {
		case *routepb.RouteAction_HashPolicy_Header_:
			k.Kind, k.Name = config.HashHeader, strings.ToLower(s.Header.GetHeaderName())
			if strings.HasPrefix(k.Name, ":") && k.Name != ":authority" {
				d.refuse(here+".header.header_name", "got %s: %s", quote(k.Name), notSupported)
			}
		case *routepb.RouteAction_HashPolicy_Cookie_:
			k.Kind, k.Name = config.HashCookie, s.Cookie.GetName()
			if s.Cookie.GetTtl() != nil {
				// Envoy cuts it to whole seconds.
				k.MakeCookie, k.Path = true, s.Cookie.GetPath()
				k.TTL = d.duration(here+".cookie.ttl", s.Cookie.GetTtl(), 0).Truncate(time.Second)
				if made {
					d.refuse(here+".cookie.ttl", "got a second cookie with a ttl, want one: %s", notSupported)
				}
				made = true
			}
			d.inCookie(here+".cookie.name", k.Name)
			d.inCookie(here+".cookie.path", k.Path)
		case *routepb.RouteAction_HashPolicy_QueryParameter_:
			k.Kind, k.Name = config.HashQueryParam, s.QueryParameter.GetName()
		case *routepb.RouteAction_HashPolicy_ConnectionProperties_:
			k.Kind = config.HashSourceAddress
		default:
			d.missing(here, "want header, cookie, query_parameter or connection_properties: %s", notSupported)
		}
		keys = append(keys, k)
	}
	return keys
}

// inCookie refuses what would break a Set-Cookie header apart.
func (d *decoder) inCookie(at, text string) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' || r == ',' || r == '"' }) {
		d.refuse(at, "got %s, want no spaces, quotes, commas, semicolons or control characters", quote(text))
	}
}

// hashKey is what an endpoint is known by to the policies that hash; empty is its address.
func hashKey(m *endpointpb.LbEndpoint) string {
	return m.GetMetadata().GetFilterMetadata()["envoy.lb"].GetFields()["hash_key"].GetStringValue()
}
