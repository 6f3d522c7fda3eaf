package definition

import (
	"bytes"
	"cmp"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/operator"
)

// longestDuration is a year: more is a slip.
const longestDuration = 8760 * time.Hour

// check looks for what the rules in the .proto files cannot say, of one document alone.
func check(m proto.Message, report reporter) {
	switch m := m.(type) {
	case *sluicev1.Gateway:
		checkGateway(m, report)
	case *sluicev1.Route:
		checkRoute(m, report)
	case *sluicev1.Service:
		checkService(m, report)
		checkServiceTLS(m.GetTls(), report)
	case *sluicev1.Certificate:
		checkFiles(m.GetFiles(), report)
	case *sluicev1.TrustBundle:
		for i, path := range m.GetFiles() {
			if at := itemPath("files", i); path == "" {
				report(at, CodeInvalidValue, `got "", want the path of a PEM file`)
			} else {
				checkPEMPath(path, at, report)
			}
		}
	case *sluicev1.Test:
		checkTest(m, report)
	}
}

// checkFiles looks for certificates and keys where their paths belong. Who opens such a "path" would tell it whole, so
// that the key would stand in a log.
func checkFiles(f *sluicev1.CertificateFiles, report reporter) {
	checkPEMPath(f.GetCertificate(), "files.certificate", report)
	checkPEMPath(f.GetPrivateKey(), "files.privateKey", report)
}

func checkPEMPath(path, at string, report reporter) {
	switch {
	case isPEM(path):
		report(at, CodeInvalidValue, "got what looks like the PEM itself, want the path of a PEM file: keys do not stand in definitions")
	case strings.ContainsFunc(path, unicode.IsControl):
		report(at, CodeInvalidValue, "got a path with control characters or more than one line, want the path of a PEM file")
	case len(path) > longestPath:
		report(at, CodeInvalidValue, fmt.Sprintf("got %d bytes, want a path of at most %d", len(path), longestPath))
	}
}

// longestPath is Linux's PATH_MAX without the NUL, in bytes.
const longestPath = 4095

// isPEM tells a PEM block, or its inside alone (base64 of an ASN.1 sequence), from a path.
func isPEM(text string) bool {
	if strings.Contains(text, "-----BEGIN") {
		return true
	}
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.Join(strings.Fields(text), ""), "="))
	if err != nil {
		return false
	}
	var sequence asn1.RawValue
	_, err = asn1.Unmarshal(der, &sequence)
	return err == nil && sequence.Tag == asn1.TagSequence && sequence.IsCompound && len(sequence.Bytes) > 0
}

// keyBlock is the beginning of a private key in PEM, in a text or in a comment, with something of the key itself.
var keyBlock = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\s|#|\\[nr])*[A-Za-z0-9+/]{32}`)

// privateKey refuses a document with a private key in it, be it in a description or a comment: who may look at the status may
// look at documents, and what is served is kept for the history.
func (d *decoder) privateKey(text []byte) {
	if at := keyBlock.FindIndex(text); at != nil {
		position := Position{File: d.file, Line: d.line + 1 + bytes.Count(text[:at[0]], []byte("\n")), Column: at[0] - bytes.LastIndexByte(text[:at[0]], '\n')}
		d.add(position, "", CodeInvalidValue, "got a private key, want none in definitions, not in comments either: whoever may ask sees them; count it as known to others")
	}
}

func checkRoute(r *sluicev1.Route, report reporter) {
	checkHosts(r.GetHosts(), "hosts", report)
	checkDuration(r.GetTimeout(), "timeout", report)
	checkDuration(r.GetIdleTimeout(), "idleTimeout", report)
	checkRequestHeaders(r.GetRequestHeaders(), "requestHeaders", report)
	checkHeaders(r.GetResponseHeaders(), "responseHeaders", operator.OfResponse, report)
	checkUpgrades(r.GetUpgrades(), "upgrades", report)
	checkRetry(r.GetRetry(), r.GetTimeout(), "retry", report)
	names := map[string]int{}
	for i, rule := range r.GetRules() {
		at := itemPath("rules", i)
		if name := rule.GetName(); name != "" {
			if first, ok := names[name]; ok {
				report(at+".name", CodeDuplicateRule, fmt.Sprintf("got %s, which rules[%d] is named already, want a name of its own", name, first))
			} else {
				names[name] = i
			}
		}
		checkDuration(rule.GetTimeout(), at+".timeout", report)
		checkDuration(rule.GetIdleTimeout(), at+".idleTimeout", report)
		checkForwards(rule, at, report)
		checkServiceFromHeader(rule.GetServiceFromHeader(), at+".serviceFromHeader", report)
		checkMirrors(rule.GetMirror(), at+".mirror", report)
		checkWeights(rule.GetBackends(), at+".backends", report)
		checkUpgrades(rule.GetUpgrades(), at+".upgrades", report)
		checkRetry(rule.GetRetry(), cmp.Or(rule.GetTimeout(), r.GetTimeout()), at+".retry", report)
		checkRetryHolds(rule, at+".retry", report)
		checkRewrite(rule, at+".rewrite", report)
		checkRedirect(rule, at+".redirect", report)
		checkRequestHeaders(rule.GetRequestHeaders(), at+".requestHeaders", report)
		checkHeaders(rule.GetResponseHeaders(), at+".responseHeaders", operator.OfResponse, report)
		if rule.GetMatch() != nil {
			checkMatch(rule.GetMatch(), at+".match", report)
		}
		for j, match := range rule.GetMatches() {
			checkMatch(match, itemPath(at+".matches", j), report)
		}
	}
}

var escapedDots = regexp.MustCompile(`(?i)/(\.|%2e){1,2}(/|$)`)

// escapedPlain finds escapes of unreserved bytes (RFC 3986, 2.3): 0-9, A-Z, a-z, -._~.
var escapedPlain = regexp.MustCompile(`(?i)%(3[0-9]|[46][1-9a-f]|[57][0-9a]|2d|2e|5f|7e)`)

// checkPath refuses paths that no request has by the time that it is matched: the proxies take out dot segments and
// double slashes first (RFC 3986, 5.2.4), and refuse raw bytes that a URL cannot have. whole: nothing can follow.
func checkPath(path string, whole bool, at string, report reporter) {
	text := fmt.Sprintf("%q", shorten(path))
	segments := path
	if !whole {
		segments += "x" // "/." may go on as "/.well-known"
	}
	switch {
	case strings.Contains(path, "//"):
		report(at, CodePath, "got "+text+", want single slashes: requests are matched after double ones are merged")
	case escapedDots.MatchString(segments):
		report(at, CodePath, "got "+text+", want a path without . and .. segments: requests are matched after these are resolved")
	case strings.Contains(path, `\`):
		report(at, CodePath, "got "+text+`, want / instead of \`)
	case strings.Contains(path, "#"):
		report(at, CodePath, "got "+text+", want a path without a fragment: clients do not send it")
	case escapedPlain.MatchString(path):
		report(at, CodePath, fmt.Sprintf("got %s, want %s not escaped: requests are matched after letters, digits and -._~ are decoded", text, escapedPlain.FindString(path)))
	default:
		for i := range len(path) {
			if path[i] <= ' ' || path[i] >= 0x7f || strings.IndexByte("\"<>^`{|}", path[i]) >= 0 {
				report(at, CodePath, fmt.Sprintf("got %s, want it percent-encoded, as requests are: %s", text, shorten((&url.URL{Path: path}).EscapedPath())))
				return
			}
		}
	}
}

func checkWeights(backends []*sluicev1.Backend, at string, report reporter) {
	var sum uint64
	for _, b := range backends {
		if b.Weight == nil {
			sum++
		}
		sum += uint64(b.GetWeight())
	}
	switch {
	case len(backends) > 0 && sum == 0:
		report(at, CodeZeroWeights, "got weights that sum to 0, want at least one backend with a weight above 0")
	case sum > math.MaxUint32:
		report(at, CodeInvalidValue, fmt.Sprintf("got weights that sum to %d, want at most %d", sum, uint32(math.MaxUint32)))
	}
}

func checkService(s *sluicev1.Service, report reporter) {
	checkHosts(s.GetHosts(), "hosts", report)
	if len(s.GetGateways()) > 0 && len(s.GetHosts()) == 0 {
		report("gateways", CodeExclusive, "got gateways without hosts, want both or neither: a Service without hosts publishes nothing")
	}
	checkDuration(s.GetConnectTimeout(), "connectTimeout", report)
	if d, err := time.ParseDuration(s.GetConnectTimeout()); err == nil && d == 0 {
		report("connectTimeout", CodeDuration, fmt.Sprintf("got %q, want more than 0", s.GetConnectTimeout()))
	}
	checkBalancing(s, report)
	checkHealth(s, report)
	checkOutliers(s.GetOutlierDetection(), report)
	checkCircuitBreaker(s.GetCircuitBreaker(), report)
	first := map[ir.Address]int{}
	for i, e := range s.GetEndpoints() {
		at := itemPath("endpoints", i) + ".address"
		address, err := ParseAddress(e.GetAddress())
		if err != nil {
			report(at, CodeBadAddress, err.Error())
			continue
		}
		if j, ok := first[address]; ok {
			advice := ": give that one a greater weight"
			if address.Records != "" {
				advice = ""
			}
			report(at, CodeRepeated, fmt.Sprintf("got %s, which endpoints[%d] is already, want each once%s", address, j, advice))
			continue
		}
		first[address] = i
	}
	checkDNS(s, report)
}

func checkTest(t *sluicev1.Test, report reporter) {
	raw := t.GetRequest().GetUrl()
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		report("request.url", CodeURL, fmt.Sprintf("got %q, want %s", shorten(raw), wantedURL))
	case u.User != nil || u.Fragment != "":
		report("request.url", CodeURL, fmt.Sprintf("got %q, want a URL without user and fragment: clients do not send them in it", shorten(raw)))
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetRequest().GetHeaders())) {
		at, value := keyPath("request.headers", name), t.GetRequest().GetHeaders()[name]
		if !headerName.MatchString(strings.ToLower(name)) {
			report(at, CodeInvalidValue, fmt.Sprintf("got %q, want a header's name", shorten(name)))
		} else if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			report(at, CodeInvalidValue, fmt.Sprintf("got %q, want a value as a request can have it: no control characters", shorten(value)))
		}
	}
}

// checkHosts looks for names that DNS cannot hold (RFC 1035, 2.3.4).
func checkHosts(hosts []string, at string, report reporter) {
	for i, host := range hosts {
		if len(host) > 253 {
			report(itemPath(at, i), CodeInvalidValue, fmt.Sprintf("got %d characters, want a host of at most 253", len(host)))
		}
	}
}

// checkDuration looks at a duration's size; its shape is a rule. Envoy counts request time-outs in milliseconds, and
// takes less than one for none at all.
func checkDuration(text, at string, report reporter) {
	d, err := ParseDuration(text)
	switch {
	case err != nil:
		report(at, CodeDuration, fmt.Sprintf("got %q, want at most 8760h", text))
	case d > longestDuration:
		report(at, CodeDuration, fmt.Sprintf("got %s, want at most 8760h, a year", text))
	case d%time.Millisecond != 0:
		report(at, CodeDuration, fmt.Sprintf("got %s, want whole milliseconds", text))
	}
}
