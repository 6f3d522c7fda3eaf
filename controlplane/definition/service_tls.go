package definition

import (
	"fmt"
	"net/netip"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// checkServiceTLS wants it said whom the endpoints must be, or aloud that they may be anybody.
func checkServiceTLS(t *sluicev1.ServiceTLS, report reporter) {
	if t == nil {
		return
	}
	names := len(t.GetSubjectAltNames()) > 0
	checkNoAddress(t.GetServerName(), "tls.serverName", report)
	checkAltNames(t.GetSubjectAltNames(), "tls.subjectAltNames", report)
	switch {
	case t.GetInsecureSkipVerify() && t.GetTrustBundle() != "":
		report("tls.insecureSkipVerify", CodeInvalidValue, "got both trustBundle and insecureSkipVerify, want one of them")
	case t.GetInsecureSkipVerify() && names:
		report("tls.subjectAltNames", CodeInvalidValue, "got subjectAltNames with insecureSkipVerify, want none: no certificate is looked at")
	case !t.GetInsecureSkipVerify() && t.GetTrustBundle() == "":
		report("tls", CodeInvalidValue, "got no trustBundle, want one whose authorities sign the endpoints' certificates, or insecureSkipVerify: true")
	case t.GetTrustBundle() != "" && t.GetServerName() == "" && !names:
		report("tls", CodeInvalidValue, "got neither serverName nor subjectAltNames, want the name that the endpoints' certificates are for: the authorities sign others' too")
	}
}

// checkAltNames looks at names that certificates must be for.
func checkAltNames(names []*sluicev1.SubjectAltName, at string, report reporter) {
	for i, n := range names {
		checkNoAddress(n.GetDns(), itemPath(at, i)+".dns", report)
	}
}

// checkNoAddress wants a host: a server name is none (RFC 6066, 3), so that Go sends none and Envoy does, and certificates have
// addresses in another field than hosts.
func checkNoAddress(host, at string, report reporter) {
	if _, err := netip.ParseAddr(host); err == nil {
		report(at, CodeInvalidValue, fmt.Sprintf("got the IP address %s, want the name of a host: neither a server name nor a host of a certificate can be an address", host))
	}
}
