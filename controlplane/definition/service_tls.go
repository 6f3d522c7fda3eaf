package definition

import sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"

// checkServiceTLS wants it said whom the endpoints must be, or aloud that they may be anybody.
func checkServiceTLS(t *sluicev1.ServiceTLS, report reporter) {
	if t == nil {
		return
	}
	names := len(t.GetSubjectAltNames()) > 0
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
