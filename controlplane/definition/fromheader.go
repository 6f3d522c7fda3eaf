package definition

import (
	"fmt"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// forwards tells whether a rule sends requests on.
func forwards(rule *sluicev1.Rule) bool {
	return len(rule.GetBackends()) > 0 || rule.GetServiceFromHeader() != nil
}

// checkServiceFromHeader wants a header that clients may say something with.
func checkServiceFromHeader(m *sluicev1.ServiceFromHeader, at string, report reporter) {
	if name := m.GetHeader(); resource.FramesMessage(name) {
		report(at+".header", CodeInvalidValue, fmt.Sprintf("got %s, which is about the message or its connection, want another header: for hosts there is match, and a Route for each", name))
	}
}
