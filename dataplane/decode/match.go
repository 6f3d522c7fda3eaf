package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/regex"
)

func (d *decoder) match(at string, m *routepb.RouteMatch) config.Match {
	out := config.Match{GRPC: m.GetGrpc() != nil}
	switch p := m.GetPathSpecifier().(type) {
	case *routepb.RouteMatch_Prefix:
		out.PathKind, out.Path = config.PathPrefix, p.Prefix
	case *routepb.RouteMatch_Path:
		out.PathKind, out.Path = config.PathExact, p.Path
	case *routepb.RouteMatch_PathSeparatedPrefix:
		out.PathKind, out.Path = config.PathSeparatedPrefix, p.PathSeparatedPrefix
	case *routepb.RouteMatch_SafeRegex:
		out.PathKind, out.Path = config.PathRegex, regex.Prefix(p.SafeRegex.GetRegex())
		out.PathRegex = d.regex(at+".safe_regex", p.SafeRegex)
	default:
		d.missing(at, "got no path, want prefix, path, path_separated_prefix or safe_regex")
	}
	for i, h := range m.GetHeaders() {
		out.Headers = append(out.Headers, d.header(fmt.Sprintf("%s.headers[%d]", at, i), h))
	}
	for i, q := range m.GetQueryParameters() {
		out.Query = append(out.Query, d.query(fmt.Sprintf("%s.query_parameters[%d]", at, i), q))
	}
	for i, s := range m.GetFilterState() {
		here := fmt.Sprintf("%s.filter_state[%d]", at, i)
		if i > 0 {
			d.refuse(here, "got more than one, want one: %s", notSupported)
			break
		}
		out.Sources = d.networks(here+".address_match", s.GetAddressMatch())
	}
	if f := m.GetRuntimeFraction(); f != nil {
		out.Fraction = fraction(f.GetDefaultValue())
	}
	return out
}

// networks wants at least one, as none would match nothing.
func (d *decoder) networks(at string, m *matcherpb.AddressMatcher) []netip.Prefix {
	var out []netip.Prefix
	for i, r := range m.GetRanges() {
		address, err := netip.ParseAddr(r.GetAddressPrefix())
		network := netip.PrefixFrom(address, int(min(r.GetPrefixLen().GetValue(), 255)))
		if err != nil || address.Zone() != "" || !network.IsValid() {
			d.refuse(fmt.Sprintf("%s.ranges[%d]", at, i), "got %s/%d, want an IP address and a length that it has", quote(r.GetAddressPrefix()), r.GetPrefixLen().GetValue())
			continue
		}
		out = append(out, network.Masked())
	}
	if len(m.GetRanges()) == 0 {
		d.missing(at, "got no ranges, want at least one")
	}
	return out
}

// fraction is nil for all.
func fraction(p *typepb.FractionalPercent) *config.Fraction {
	f := &config.Fraction{Numerator: p.GetNumerator(), Denominator: 100}
	switch p.GetDenominator() {
	case typepb.FractionalPercent_TEN_THOUSAND:
		f.Denominator = 10_000
	case typepb.FractionalPercent_MILLION:
		f.Denominator = 1_000_000
	}
	if f.Numerator >= f.Denominator {
		return nil
	}
	return f
}

// header wants some comparison; to Envoy none means that the header is there.
func (d *decoder) header(at string, m *routepb.HeaderMatcher) config.HeaderMatch {
	out := config.HeaderMatch{Name: strings.ToLower(m.GetName()), Invert: m.GetInvertMatch()}
	if out.Name == "host" {
		// Envoy holds the Host header under this name only.
		out.Name = ":authority"
	}
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case *routepb.HeaderMatcher_StringMatch:
		out.Text = d.text(at+".string_match", s.StringMatch)
		if out.Kind == config.TextExact && out.Value == "" {
			d.missing(at+".string_match", "want exact, not empty: %s", notSupported)
		}
	case *routepb.HeaderMatcher_PresentMatch:
		out.Text = presence(s.PresentMatch)
	case *routepb.HeaderMatcher_ExactMatch:
		out.Value = s.ExactMatch
	case *routepb.HeaderMatcher_PrefixMatch:
		out.Text = config.Text{Kind: config.TextPrefix, Value: s.PrefixMatch}
	case *routepb.HeaderMatcher_SuffixMatch:
		out.Text = config.Text{Kind: config.TextSuffix, Value: s.SuffixMatch}
	case *routepb.HeaderMatcher_ContainsMatch:
		out.Text = config.Text{Kind: config.TextContains, Value: s.ContainsMatch}
	case *routepb.HeaderMatcher_SafeRegexMatch:
		out.Text = d.pattern(at+".safe_regex_match", s.SafeRegexMatch)
	default:
		d.missing(at, "want string_match or present_match: %s", notSupported)
	}
	return out
}

func (d *decoder) query(at string, m *routepb.QueryParameterMatcher) config.QueryMatch {
	out := config.QueryMatch{Name: m.GetName()}
	switch s := m.GetQueryParameterMatchSpecifier().(type) {
	case *routepb.QueryParameterMatcher_StringMatch:
		out.Text = d.text(at+".string_match", s.StringMatch)
	case *routepb.QueryParameterMatcher_PresentMatch:
		out.Text = presence(s.PresentMatch)
	default:
		d.missing(at, "want string_match or present_match: %s", notSupported)
	}
	return out
}

func presence(there bool) config.Text {
	if there {
		return config.Text{Kind: config.TextPresent}
	}
	return config.Text{Kind: config.TextAbsent}
}

func (d *decoder) text(at string, m *matcherpb.StringMatcher) config.Text {
	switch p := m.GetMatchPattern().(type) {
	case *matcherpb.StringMatcher_Exact:
		return config.Text{Value: p.Exact}
	case *matcherpb.StringMatcher_Prefix:
		return config.Text{Kind: config.TextPrefix, Value: p.Prefix}
	case *matcherpb.StringMatcher_Suffix:
		return config.Text{Kind: config.TextSuffix, Value: p.Suffix}
	case *matcherpb.StringMatcher_Contains:
		return config.Text{Kind: config.TextContains, Value: p.Contains}
	case *matcherpb.StringMatcher_SafeRegex:
		return d.pattern(at+".safe_regex", p.SafeRegex)
	}
	d.missing(at, "want exact, prefix, suffix, contains or safe_regex: %s", notSupported)
	return config.Text{}
}

func (d *decoder) pattern(at string, m *matcherpb.RegexMatcher) config.Text {
	return config.Text{Kind: config.TextRegex, Value: m.GetRegex(), Regex: d.regex(at, m)}
}

// regex compiles a pattern, once for each resource.
func (d *decoder) regex(at string, m *matcherpb.RegexMatcher) *regexp.Regexp {
	if re := d.regexes[m.GetRegex()]; re != nil {
		return re
	}
	re, err := regex.Compile(m.GetRegex())
	if err != nil {
		d.refuse(at+".regex", "%v", err)
		return nil
	}
	if d.regexes == nil {
		d.regexes = map[string]*regexp.Regexp{}
	}
	d.regexes[m.GetRegex()] = re
	return re
}
