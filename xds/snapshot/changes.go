package snapshot

import (
	"fmt"
	"strings"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// Changes counts the resources that differ, by type.
func Changes(old, now *Snapshot) string {
	if old == now || now == nil {
		return ""
	}
	if old == nil {
		old = Empty
	}
	var parts []string
	for _, t := range resource.PushOrder {
		if n := len(now.Set(t.URL).Changed(old.Set(t.URL))); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", t.Short, n))
		}
	}
	return strings.Join(parts, " ")
}
