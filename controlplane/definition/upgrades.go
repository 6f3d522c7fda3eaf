package definition

import (
	"fmt"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// defaultUpgrade is what everybody expects to work.
const defaultUpgrade = "websocket"

// checkUpgrades refuses what is no protocol of its own: through a connection that has become HTTP/2, requests would pass
// by every rule of the proxy.
func checkUpgrades(u *sluicev1.Upgrades, at string, report reporter) {
	for i, p := range u.GetProtocols() {
		why := ""
		switch {
		case p == "h2c", p == "h2", strings.HasPrefix(p, "http/"):
			why = "that is HTTP again, and its requests would pass by all rules: HTTP/2 needs no upgrade, clients and Services may speak it at once"
		case p == "connect", strings.HasPrefix(p, "connect-"):
			why = "that is a method and no protocol: it would make a forward proxy of this one, which is not supported"
		default:
			continue
		}
		report(itemPath(at+".protocols", i), CodeInvalidValue, fmt.Sprintf("got %q, want another protocol: %s", p, why))
	}
}

func upgradeDefaults(u **sluicev1.Upgrades) {
	if *u == nil {
		*u = &sluicev1.Upgrades{}
	}
	if !(*u).GetDisabled() {
		orList(&(*u).Protocols, defaultUpgrade)
	}
}
