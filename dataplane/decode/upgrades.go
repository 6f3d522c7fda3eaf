package decode

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

const notUpgrades = "CONNECT, CONNECT-UDP and h2c are refused"

// upgradeConfig is the connection manager's, or a route's.
type upgradeConfig interface {
	GetUpgradeType() string
	GetEnabled() *wrapperspb.BoolValue
}

// upgrades reads which protocols may be switched to.
func upgrades[U upgradeConfig](d *decoder, at string, list []U) []config.Upgrade {
	var out []config.Upgrade
	for i, u := range list {
		here := fmt.Sprintf("%s.upgrade_configs[%d].upgrade_type", at, i)
		name := u.GetUpgradeType()
		switch lower := strings.ToLower(name); {
		case lower == "":
			d.refuse(here, `got "", want a protocol`)
		case lower == "h2c", strings.HasPrefix(lower, "connect"):
			d.refuse(here, "got %s, want a protocol to switch to: %s", quote(name), notSupported)
		}
		for _, other := range out {
			if strings.EqualFold(other.Protocol, name) {
				d.refuse(here, "got %s twice, want it once", quote(name))
			}
		}
		out = append(out, config.Upgrade{Protocol: name, Enabled: boolean(u.GetEnabled(), true)})
	}
	return out
}
