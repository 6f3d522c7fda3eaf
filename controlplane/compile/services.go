package compile

import (
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// maxWeight is the greatest sum of weights that Envoy takes: 2^32-1.
const maxWeight = 1<<32 - 1

type service struct {
	doc     *definition.Document
	memo    *serviceMemo
	msg     *sluicev1.Service // with defaults
	cluster *ir.Cluster
	// used: a rule or a listener refers to it.
	used bool
}

// resolveServices makes the clusters. A Service with a fault is left out.
func (c *compiler) resolveServices() {
	c.sorted = slices.DeleteFunc(c.sorted, func(s *service) bool {
		if c.cluster(s) {
			return false
		}
		delete(c.services, s.doc.Ref.Name)
		c.hold(s.doc)
		return true
	})
}

// hold notes that a document turned out to be bad, so that what refers to it says so.
func (c *compiler) hold(d *definition.Document) { c.held[d.Ref] = d.Position }

func (c *compiler) cluster(s *service) bool {
	if s.memo.cluster != nil {
		s.cluster = s.memo.cluster
		return true
	}
	ok := true
	m := s.msg
	s.cluster = &ir.Cluster{Name: m.GetName(), HTTP2: m.GetProtocol() == sluicev1.Service_HTTP2, ProxyProtocol: proxyVersions[m.GetProxyProtocol()]}
	timeout, err := definition.ParseDuration(m.GetConnectTimeout())
	if err != nil {
		c.errorf(s.doc, "connectTimeout", definition.CodeDuration, "%v", err)
		ok = false
	}
	s.cluster.ConnectTimeout = timeout
	balancing(s.cluster, m.GetLoadBalancer())
	s.cluster.HealthCheck, s.cluster.Outliers = healthCheck(m.GetHealthCheck()), outliers(m.GetOutlierDetection())
	circuitBreaker(s.cluster, m.GetCircuitBreaker())
	ok = c.serviceTLS(s, m.GetTls()) && ok
	var sum uint64
	for i, e := range m.GetEndpoints() {
		field := fmt.Sprintf("endpoints[%d].address", i)
		address, err := definition.ParseAddress(e.GetAddress())
		if err != nil {
			c.errorf(s.doc, field, definition.CodeBadAddress, "%s", err)
			ok = false
			continue
		}
		sum += uint64(e.GetWeight())
		s.cluster.Endpoints = append(s.cluster.Endpoints, ir.Endpoint{
			Address: address, Weight: e.GetWeight(), HashKey: e.GetHashKey(), Zone: e.GetZone(), Priority: e.GetPriority(), Drain: e.GetDrain(),
		})
	}
	s.cluster.DNS, s.cluster.SRV = lookups(m, s.cluster.Endpoints)
	if sum > maxWeight {
		c.errorf(s.doc, "endpoints", definition.CodeInvalidValue, "got weights that sum to %d, want at most %d", sum, uint64(maxWeight))
		ok = false
	}
	if ok && m.GetTls() == nil {
		s.memo.cluster = s.cluster
	} else if ok {
		s.cluster = s.memo.same(s.cluster)
	}
	return ok
}

// backends resolves a list of backends. One Service that stands there twice gets both shares.
func (c *compiler) backends(d *definition.Document, field string, list []*sluicev1.Backend) ([]ir.Backend, bool) {
	ok := true
	var backends []ir.Backend
	at := map[string]int{}
	for i, b := range list {
		name := b.GetService()
		s := c.services[name]
		if s == nil {
			c.missing(d, fmt.Sprintf("%s[%d].service", field, i), definition.CodeUnknownService, definition.Ref{Kind: "Service", Name: name})
			ok = false
			continue
		}
		s.used = true
		if j, twice := at[name]; twice {
			backends[j].Weight += b.GetWeight()
			continue
		}
		at[name] = len(backends)
		backends = append(backends, ir.Backend{Cluster: name, Weight: b.GetWeight()})
	}
	return backends, ok
}

// warnUnused tells of Services that nothing names: like warnIdle's, not beside an error.
func (c *compiler) warnUnused() {
	if c.flawed() {
		return
	}
	for _, s := range c.sorted {
		if !s.used {
			c.warnf(s.doc, "", definition.CodeUnusedService, "no Route and no listener uses this Service")
		}
	}
}

// warnIdle tells of listeners that nothing joins: most often somebody forgot gateways. Beside an error it would only be
// its echo: the Route that was to join is held back.
func (c *compiler) warnIdle() {
	if c.flawed() {
		return
	}
	for _, l := range c.idle {
		c.warnf(l.gateway.doc, l.field, definition.CodeIdleListener,
			"no Route joins this listener: it answers 404 to everything; a Route joins it by gateways: [%s], and without gateways the Gateway %s",
			l.gateway.doc.Ref.Name, definition.DefaultGateway)
	}
}

// flawed: there is an error, here or in a document that could not even be read.
func (c *compiler) flawed() bool {
	return len(c.in.HeldBack) > 0 || slices.ContainsFunc(c.out.Problems, func(p definition.Problem) bool { return p.Severity == definition.SeverityError })
}
