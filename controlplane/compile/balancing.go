package compile

import (
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// balancing is how a Service's endpoint is chosen.
func balancing(c *ir.Cluster, m *sluicev1.LoadBalancer) {
	// definition has checked it.
	c.PanicThreshold, _ = definition.ParsePercent(m.GetPanicThreshold())
	c.ZoneWeights = m.GetZoneWeights()
	if slow := definition.SlowStartOf(m); slow != nil {
		c.SlowStart = &ir.SlowStart{Aggression: slow.GetAggression()}
		c.SlowStart.Window, _ = definition.ParseDuration(slow.GetWindow())
		c.SlowStart.MinWeight, _ = definition.ParsePercent(slow.GetMinWeightPercent())
	}
	switch p := m.GetPolicy().(type) {
	case *sluicev1.LoadBalancer_LeastRequest:
		c.Policy, c.ChoiceCount = ir.LeastRequest, p.LeastRequest.GetChoiceCount()
	case *sluicev1.LoadBalancer_Random:
		c.Policy = ir.Random
	case *sluicev1.LoadBalancer_RingHash:
		c.Policy, c.HashOn = ir.RingHash, hashOn(p.RingHash.GetHashOn())
		c.MinRingSize, c.MaxRingSize = p.RingHash.GetMinimumRingSize(), p.RingHash.GetMaximumRingSize()
	case *sluicev1.LoadBalancer_Maglev:
		c.Policy, c.HashOn = ir.Maglev, hashOn(p.Maglev.GetHashOn())
		c.TableSize = p.Maglev.GetTableSize()
	}
}

func hashOn(list []*sluicev1.HashKey) []ir.HashKey {
	var keys []ir.HashKey
	for _, m := range list {
		k := ir.HashKey{Terminal: m.GetTerminal()}
		switch on := m.GetOn().(type) {
		case *sluicev1.HashKey_Header:
			k.Kind, k.Name = ir.HashHeader, on.Header.GetName()
		case *sluicev1.HashKey_Cookie:
			k.Kind, k.Name = ir.HashCookie, on.Cookie.GetName()
			k.MakeCookie, k.Path = on.Cookie.GetTtl() != "", on.Cookie.GetPath()
			// definition has checked it.
			k.TTL, _ = definition.ParseDuration(on.Cookie.GetTtl())
		case *sluicev1.HashKey_QueryParam:
			k.Kind, k.Name = ir.HashQueryParam, on.QueryParam.GetName()
		case *sluicev1.HashKey_SourceAddress:
			k.Kind = ir.HashSourceAddress
		}
		keys = append(keys, k)
	}
	return keys
}

// hashesTCP says whether the backends of a TCP listener can do as they are told: a connection has an address, and no
// headers, cookies or query. Without a key each would go to any endpoint, which is not what was asked for.
func (c *compiler) hashesTCP(d *definition.Document, field string, protocol sluicev1.Listener_Protocol, list []*sluicev1.Backend) bool {
	ok := true
	for i, b := range list {
		s := c.services[b.GetService()]
		if s == nil || len(s.cluster.HashOn) == 0 {
			continue
		}
		if !slices.ContainsFunc(s.cluster.HashOn, func(k ir.HashKey) bool { return k.Kind == ir.HashSourceAddress }) {
			c.errorf(d, fmt.Sprintf("%s[%d].service", field, i), definition.CodeInvalidValue,
				"got %s on a listener of protocol %s, want a Service whose hashOn has sourceAddress (%s): connections have nothing else to hash", b.GetService(), protocol, s.doc.Position)
			ok = false
		}
	}
	return ok
}
