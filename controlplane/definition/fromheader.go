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

// checkForwards refuses what means nothing to a rule that answers by itself.
func checkForwards(rule *sluicev1.Rule, at string, report reporter) {
	if forwards(rule) {
		return
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"timeout", rule.GetTimeout() != ""},
		{"idleTimeout", rule.GetIdleTimeout() != ""},
		{"upgrades", rule.GetUpgrades() != nil},
		{"requestHeaders", rule.GetRequestHeaders() != nil},
		{"mirror", len(rule.GetMirror()) > 0},
	} {
		if f.set {
			report(at+"."+f.name, CodeExclusive, fmt.Sprintf("got %s without backends, want %s only where there are backends", f.name, f.name))
		}
	}
}

// checkServiceFromHeader wants a header that clients may say something with.
func checkServiceFromHeader(m *sluicev1.ServiceFromHeader, at string, report reporter) {
	if name := m.GetHeader(); resource.FramesMessage(name) {
		report(at+".header", CodeInvalidValue, fmt.Sprintf("got %s, which is about the message or its connection, want another header: for hosts there is match, and a Route for each", name))
	}
}
