package definition

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// DefaultGateway is the name of the Gateway that Routes and Services join when they name none, of the fleet that a
// Gateway belongs to when it names none, and of the built-in Certificate.
const DefaultGateway = "default"

// The defaults, as they would be written. A default never changes.
const (
	defaultAddress        = "0.0.0.0"
	defaultIdleTimeout    = "5m"
	defaultTimeout        = "0s"
	defaultConnectTimeout = "5s"
	defaultStatusCode     = 301
	defaultChoiceCount    = 2
	defaultWeight         = 1
	defaultMinRingSize    = 1024
	defaultMaxRingSize    = 1 << 20
	defaultTableSize      = 65537
	defaultPanicThreshold = "0%"
	defaultMinWeight      = "10%"
	defaultAggression     = 1

	defaultHeaderBytes    = "60Ki"
	defaultHeaderCount    = 100
	defaultHeadersTimeout = "10s"
	defaultRequestTimeout = "0s"
	defaultStreams        = 100
)

// WithDefaults is a copy of a message with every default filled in. Every rule gets a name: see RuleNames.
func WithDefaults[M proto.Message](m M) M {
	m = proto.Clone(m).(M)
	switch m := any(m).(type) {
	case *sluicev1.Gateway:
		orText(&m.Fleet, DefaultGateway)
		for _, l := range m.GetListeners() {
			listenerDefaults(l)
		}
	case *sluicev1.Route:
		routeDefaults(m)
	case *sluicev1.Service:
		serviceDefaults(m)
	case *sluicev1.Certificate:
		if s := m.GetSelfSigned(); s != nil {
			orList(&s.Hosts, "localhost", "*.localhost")
		}
	case *sluicev1.Test:
		if m.GetRequest() != nil {
			orText(&m.Request.Method, "GET")
		}
	}
	return m
}

func listenerDefaults(l *sluicev1.Listener) {
	if l.GetSocket() == nil {
		orText(&l.Address, defaultAddress)
	}
	orText(&l.IdleTimeout, defaultIdleTimeout)
	if l.GetProtocol() != sluicev1.Listener_TCP {
		orList(&l.Hosts, "*")
	}
	if l.GetProtocol() != sluicev1.Listener_TCP && l.GetProtocol() != sluicev1.Listener_TLS {
		if l.Limits == nil {
			l.Limits = &sluicev1.Limits{}
		}
		limitDefaults(l.GetLimits())
	}
	redirectDefaults(l.GetRedirect())
	backendDefaults(l.GetBackends())
}

func limitDefaults(l *sluicev1.Limits) {
	orText(&l.HeaderBytes, defaultHeaderBytes)
	orText(&l.RequestHeadersTimeout, defaultHeadersTimeout)
	orText(&l.RequestTimeout, defaultRequestTimeout)
	orNumber(&l.HeaderCount, defaultHeaderCount)
	orNumber(&l.Streams, defaultStreams)
}

// forwardDefaults are those of a rule that sends requests on; to others they would mean nothing.
func forwardDefaults(rule *sluicev1.Rule, r *sluicev1.Route) {
	orText(&rule.Timeout, r.GetTimeout())
	orText(&rule.IdleTimeout, r.GetIdleTimeout())
	if rule.Upgrades == nil {
		rule.Upgrades = proto.CloneOf(r.GetUpgrades())
	}
	upgradeDefaults(&rule.Upgrades)
	if rule.Retry == nil {
		rule.Retry = proto.CloneOf(r.GetRetry())
	}
	retryDefaults(rule.GetRetry())
	if rule.RequestHeaders == nil {
		rule.RequestHeaders = proto.CloneOf(r.GetRequestHeaders())
	}
}

func routeDefaults(r *sluicev1.Route) {
	orList(&r.Gateways, DefaultGateway)
	orList(&r.Hosts, "*")
	orText(&r.Timeout, defaultTimeout)
	upgradeDefaults(&r.Upgrades)
	retryDefaults(r.GetRetry())
	names := RuleNames(r)
	for i, rule := range r.GetRules() {
		rule.Name = names[i]
		if forwards(rule) {
			forwardDefaults(rule, r)
		}
		redirectDefaults(rule.GetRedirect())
		if rule.ResponseHeaders == nil {
			rule.ResponseHeaders = proto.CloneOf(r.GetResponseHeaders())
		}
		backendDefaults(rule.GetBackends())
	}
}

func serviceDefaults(s *sluicev1.Service) {
	if s.CircuitBreaker == nil {
		s.CircuitBreaker = &sluicev1.CircuitBreaker{}
	}
	circuitBreakerDefaults(s.GetCircuitBreaker())
	if len(s.GetHosts()) > 0 {
		orList(&s.Gateways, DefaultGateway)
	}
	orText(&s.ConnectTimeout, defaultConnectTimeout)
	if s.GetProtocol() == sluicev1.Service_PROTOCOL_UNSPECIFIED {
		s.Protocol = sluicev1.Service_HTTP1
	}
	if s.GetLoadBalancer() == nil {
		s.LoadBalancer = &sluicev1.LoadBalancer{}
	}
	if s.GetLoadBalancer().GetPolicy() == nil {
		s.LoadBalancer.Policy = &sluicev1.LoadBalancer_RoundRobin{RoundRobin: &sluicev1.RoundRobin{}}
	}
	orText(&s.LoadBalancer.PanicThreshold, defaultPanicThreshold)
	if slow := SlowStartOf(s.GetLoadBalancer()); slow != nil {
		orText(&slow.MinWeightPercent, defaultMinWeight)
		if slow.Aggression == 0 {
			slow.Aggression = defaultAggression
		}
	}
	if l := s.GetLoadBalancer().GetLeastRequest(); l != nil && l.GetChoiceCount() == 0 {
		l.ChoiceCount = defaultChoiceCount
	}
	if l := s.GetLoadBalancer().GetRingHash(); l != nil {
		orNumber(&l.MinimumRingSize, defaultMinRingSize)
		orNumber(&l.MaximumRingSize, defaultMaxRingSize)
	}
	if l := s.GetLoadBalancer().GetMaglev(); l != nil {
		orNumber(&l.TableSize, defaultTableSize)
	}
	if named(s) && s.GetDns() == nil {
		s.Dns = &sluicev1.DNS{}
	}
	dnsDefaults(s.GetDns())
	healthDefaults(s.GetHealthCheck(), s.GetName())
	outlierDefaults(s.GetOutlierDetection())
	for _, e := range s.GetEndpoints() {
		if e.Weight == nil {
			e.Weight = proto.Uint32(defaultWeight)
		}
	}
}

func redirectDefaults(r *sluicev1.Redirect) {
	if r != nil && r.GetStatusCode() == 0 {
		r.StatusCode = defaultStatusCode
	}
}

func backendDefaults(backends []*sluicev1.Backend) {
	for _, b := range backends {
		if b.Weight == nil {
			b.Weight = proto.Uint32(defaultWeight)
		}
	}
}

func orText(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func orNumber(field *uint32, value uint32) {
	if *field == 0 {
		*field = value
	}
}

func orList(field *[]string, values ...string) {
	if len(*field) == 0 {
		*field = values
	}
}

// RuleNames are the names of a Route's rules: that which is written, else one derived from the match ("any" where
// everything matches), so that inserting a rule renames no other. A derived name that is taken gets a number: this can
// only be for a rule that never matches, or one that was named so by hand.
func RuleNames(r *sluicev1.Route) []string {
	taken := map[string]bool{}
	for _, rule := range r.GetRules() {
		taken[rule.GetName()] = true
	}
	names := make([]string, len(r.GetRules()))
	for i, rule := range r.GetRules() {
		name := rule.GetName()
		if name == "" {
			derived := deriveRuleName(rule)
			name = derived
			for n := 2; taken[name]; n++ {
				name = fmt.Sprintf("%s-%d", derived, n)
			}
			taken[name] = true
		}
		names[i] = name
	}
	return names
}

// deriveRuleName is from the hash of the match: `match: m` and `matches: [m]` mean the same and are named the same.
func deriveRuleName(rule *sluicev1.Rule) string {
	matches := rule.GetMatches()
	if rule.GetMatch() != nil {
		matches = []*sluicev1.Match{rule.GetMatch()}
	}
	var b strings.Builder
	if from := rule.GetServiceFromHeader(); from != nil {
		b.WriteString(from.GetHeader()) // which is a part of what it matches
	}
	for _, m := range matches {
		c := canonical(m.ProtoReflect())
		if c == "{}" && rule.GetServiceFromHeader() == nil {
			return "any"
		}
		b.WriteString(c)
	}
	if b.Len() == 0 {
		return "any"
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "match-" + hex.EncodeToString(sum[:4])
}

// RouteOf is the Route that a Service with hosts stands for, without defaults; nil for a Service without hosts.
func RouteOf(s *sluicev1.Service) *sluicev1.Route {
	if len(s.GetHosts()) == 0 {
		return nil
	}
	return &sluicev1.Route{
		Name:     s.GetName(),
		Hosts:    s.GetHosts(),
		Gateways: s.GetGateways(),
		Rules:    []*sluicev1.Rule{{Backends: []*sluicev1.Backend{{Service: s.GetName()}}}},
	}
}

// builtin is what every set of definitions begins with, as a person would write it.
const builtin = `kind: Gateway
name: default
description: Built in. Define a Gateway of this name to replace it.
listeners:
  - {name: http, address: 127.0.0.1, port: 8080, protocol: HTTP}
  - {name: https, address: 127.0.0.1, port: 8443, protocol: HTTPS, certificates: [default]}
---
kind: Certificate
name: default
description: Built in, for development. Define a Certificate of this name to replace it.
selfSigned: {hosts: [localhost, "*.localhost"]}
`

// BuiltinGateway is the built-in Gateway "default" and its Certificate "default". Each serves where no document of its kind
// and name is defined.
func BuiltinGateway() []*Document {
	documents, problems := Parse("built-in", []byte(builtin))
	if len(problems) > 0 {
		panic(problems[0].Error()) // our own text: a test would have seen it
	}
	return documents
}

// ParseDuration reads a duration of the language; "" is 0. Of a checked message it never fails.
func ParseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// ParsePercent reads whole percents of the language; "" is 0. Of a checked message it never fails.
func ParsePercent(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "%"), 10, 7)
	return uint32(n), err
}

// ParseSize reads a size of the language, in bytes; "" is 0. Of a checked message it never fails.
func ParseSize(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	for suffix, shift := range map[string]int{"Ki": 10, "Mi": 20} {
		if digits, ok := strings.CutSuffix(text, suffix); ok {
			n, err := strconv.ParseUint(digits, 10, 24)
			return n << shift, err
		}
	}
	return 0, fmt.Errorf("got %q, want %s", shorten(text), wantedSize)
}
