package definition

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/xds/regex"
)

// Million is the whole of what ParseFraction reads.
const Million = 1_000_000

// ParseFraction reads a share such as 0.5%, in millionths: 0 to Million. Of a checked message it never fails.
func ParseFraction(text string) (uint32, error) {
	whole, decimals, _ := strings.Cut(strings.TrimSuffix(text, "%"), ".")
	if len(decimals) <= 4 && strings.HasSuffix(text, "%") {
		n, err := strconv.ParseUint(whole+decimals+"0000"[len(decimals):], 10, 32)
		if err == nil && n <= Million {
			return uint32(n), nil
		}
	}
	return 0, fmt.Errorf("got %q, want a share such as 10%% or 0.5%%, from 0%% to 100%%", shorten(text))
}

func checkMatch(m *sluicev1.Match, at string, report reporter) {
	switch kind := m.GetPath().GetKind().(type) {
	case *sluicev1.PathMatch_Exact:
		checkPath(kind.Exact, true, at+".path.exact", report)
	case *sluicev1.PathMatch_Prefix:
		checkPath(kind.Prefix, true, at+".path.prefix", report)
	case *sluicev1.PathMatch_RawPrefix:
		checkPath(kind.RawPrefix, false, at+".path.rawPrefix", report)
	case *sluicev1.PathMatch_Regex:
		checkRegex(kind.Regex, at+".path.regex", report)
		checkPathRegex(kind.Regex, at+".path.regex", report)
	}
	for i, h := range m.GetHeaders() {
		header := itemPath(at+".headers", i)
		if h.GetName() == "host" {
			report(header+".name", CodeInvalidValue, `got "host", want another header: hosts stand in the Route's hosts`)
		}
		checkText(h, header, report)
		for field, v := range map[string]string{"exact": h.GetExact(), "prefix": h.GetPrefix(), "suffix": h.GetSuffix(), "contains": h.GetContains()} {
			trimmed := v
			if field == "exact" || field == "prefix" {
				trimmed = strings.TrimLeft(trimmed, " \t")
			}
			if field == "exact" || field == "suffix" {
				trimmed = strings.TrimRight(trimmed, " \t")
			}
			if trimmed != v || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				report(header+"."+field, CodeInvalidValue, fmt.Sprintf("got %q, want a value as a request can have it: no control characters, no spaces at either end", shorten(v)))
			}
		}
	}
	for i, q := range m.GetQueryParams() {
		param := itemPath(at+".queryParams", i)
		checkText(q, param, report)
		for field, v := range map[string]string{"exact": q.GetExact(), "prefix": q.GetPrefix(), "suffix": q.GetSuffix(), "contains": q.GetContains()} {
			if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '&' || r == '#' }) {
				report(param+"."+field, CodeInvalidValue, fmt.Sprintf("got %q, want it as it is in the URL, percent-encoded: nothing is decoded before it is compared", shorten(v)))
			}
		}
	}
	for i, text := range m.GetSourceAddresses() {
		if _, err := ParseNetwork(text); err != nil {
			report(itemPath(at+".sourceAddresses", i), CodeBadAddress, err.Error())
		}
	}
	if text := m.GetFraction(); text != "" {
		if _, err := ParseFraction(text); err != nil {
			report(at+".fraction", CodeInvalidValue, err.Error())
		}
	}
}

// ParseNetwork reads a network such as 10.0.0.0/8, or one address. Of a checked message it never fails.
func ParseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if address, single := netip.ParseAddr(text); single == nil && address.Zone() == "" {
		network, err = netip.PrefixFrom(address, address.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("got %q, want a network such as 10.0.0.0/8, or an IP address", shorten(text))
	case network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("got %q, want it as IPv4", text)
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("got %q, want %s: an address of a network has no bits behind its length", text, network.Masked())
	}
	return network, nil
}

// checkText looks at what headers and parameters of the query have in common.
func checkText(m interface{ GetRegex() string }, at string, report reporter) {
	if pattern := m.GetRegex(); pattern != "" {
		checkRegex(pattern, at+".regex", report)
	}
}

func checkRegex(pattern, at string, report reporter) {
	if err := regex.Check(pattern); err != nil {
		report(at, CodeInvalidValue, err.Error())
	}
}

// checkPathRegex refuses what can match no path, since these begin with '/' and have no query.
func checkPathRegex(pattern, at string, report reporter) {
	if prefix := regex.Prefix(pattern); prefix != "" && prefix[0] != '/' {
		report(at, CodePath, fmt.Sprintf("got %q, want a regular expression for whole paths, which begin with /", shorten(pattern)))
	}
}
