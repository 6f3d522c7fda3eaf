package httpproxy

import (
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// change does a route's changes to a header; nil are none.
func change(h *message.Header, c *config.HeaderChanges) {
	if c == nil {
		return
	}
	for _, name := range c.Remove {
		h.Del(name)
	}
	for i := range c.Add {
		a := &c.Add[i]
		if a.Overwrite {
			h.Del(a.Name)
		}
		h.Add(a.Name, a.Value)
	}
}
