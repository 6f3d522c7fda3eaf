package translate

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// match holds if all parts hold.
func match(in *ir.Match) *routepb.RouteMatch {
	m := &routepb.RouteMatch{}
	switch in.PathKind {
	case ir.PathExact:
		m.PathSpecifier = &routepb.RouteMatch_Path{Path: in.Path}
	case ir.PathPrefix:
		m.PathSpecifier = &routepb.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: in.Path}
	case ir.PathRawPrefix:
		m.PathSpecifier = &routepb.RouteMatch_Prefix{Prefix: in.Path}
	case ir.PathRegex:
		m.PathSpecifier = &routepb.RouteMatch_SafeRegex{SafeRegex: &matcherpb.RegexMatcher{Regex: in.Path}}
	default:
		m.PathSpecifier = &routepb.RouteMatch_Prefix{Prefix: "/"}
	}
	if in.Method != "" {
		m.Headers = append(m.Headers, header(ir.HeaderMatch{Name: ":method", Text: ir.Text{Value: in.Method}}))
	}
	for _, h := range in.Headers {
		m.Headers = append(m.Headers, header(h))
	}
	for _, q := range in.Query {
		m.QueryParameters = append(m.QueryParameters, query(q))
	}
	if in.GRPC {
		m.Grpc = &routepb.RouteMatch_GrpcRouteMatchOptions{}
	}
	if len(in.Sources) > 0 {
		m.FilterState = append(m.FilterState, sources(in.Sources))
	}
	if in.Fraction != nil {
		// Millionths, always: Envoy takes the same number for the share of a cluster, modulo the sum of the weights, so that
		// hundredths would give all of a rule's 50% to the first of two clusters.
		m.RuntimeFraction = &corepb.RuntimeFractionalPercent{
			DefaultValue: &typepb.FractionalPercent{Numerator: *in.Fraction, Denominator: typepb.FractionalPercent_MILLION},
		}
	}
	return m
}

func header(in ir.HeaderMatch) *routepb.HeaderMatcher {
	m := &routepb.HeaderMatcher{Name: in.Name, InvertMatch: in.Invert}
	switch in.Kind {
	case ir.TextPresent, ir.TextAbsent:
		m.HeaderMatchSpecifier = &routepb.HeaderMatcher_PresentMatch{PresentMatch: in.Kind == ir.TextPresent}
	default:
		m.HeaderMatchSpecifier = &routepb.HeaderMatcher_StringMatch{StringMatch: text(in.Text)}
	}
	return m
}

func query(in ir.QueryMatch) *routepb.QueryParameterMatcher {
	m := &routepb.QueryParameterMatcher{Name: in.Name}
	switch in.Kind {
	case ir.TextPresent, ir.TextAbsent:
		m.QueryParameterMatchSpecifier = &routepb.QueryParameterMatcher_PresentMatch{PresentMatch: in.Kind == ir.TextPresent}
	default:
		m.QueryParameterMatchSpecifier = &routepb.QueryParameterMatcher_StringMatch{StringMatch: text(in.Text)}
	}
	return m
}

// text is a comparison of a value.
func text(in ir.Text) *matcherpb.StringMatcher {
	m := &matcherpb.StringMatcher{}
	switch in.Kind {
	case ir.TextPrefix:
		m.MatchPattern = &matcherpb.StringMatcher_Prefix{Prefix: in.Value}
	case ir.TextSuffix:
		m.MatchPattern = &matcherpb.StringMatcher_Suffix{Suffix: in.Value}
	case ir.TextContains:
		m.MatchPattern = &matcherpb.StringMatcher_Contains{Contains: in.Value}
	case ir.TextRegex:
		m.MatchPattern = &matcherpb.StringMatcher_SafeRegex{SafeRegex: &matcherpb.RegexMatcher{Regex: in.Value}}
	default:
		m.MatchPattern = &matcherpb.StringMatcher_Exact{Exact: in.Value}
	}
	return m
}
