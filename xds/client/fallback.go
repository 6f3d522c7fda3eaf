package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// hurry ends a stream that brings nothing, as long as there may be something else to go on with. The next one says which
// of it is there, so that the control plane can tell what is gone; one that began with nothing could not be told that.
// It does so once: a control plane that is merely slow gets its time.
func (c *Client) hurry(cancel context.CancelCauseFunc) *time.Timer {
	if c.heard || c.hurried || c.options.Fallback == nil {
		return time.NewTimer(never)
	}
	c.hurried = true
	return time.AfterFunc(c.options.FallbackAfter, func() {
		cancel(fmt.Errorf("no answer within %v", c.options.FallbackAfter))
	})
}

// fallBack hands over resources of an earlier run, between two streams. From then on they are like any that were
// accepted, but for their versions: those are not claimed, so that the control plane sends all once more, and says what
// is gone. (A control plane that counts its versions anew may mean something else by the same one.)
func (c *Client) fallBack() {
	if c.options.Fallback == nil {
		return
	}
	updates := c.options.Fallback()
	if len(updates) == 0 {
		return
	}
	c.options.Fallback = nil
	c.mu.Lock()
	c.stats.FallenBack = true
	c.mu.Unlock()
	for _, u := range updates {
		c.subscribe() // for what is wanted by now: nobody hears the requests
		st := c.types[u.TypeURL]
		if st == nil {
			continue
		}
		u.Resources = slices.DeleteFunc(slices.Clone(u.Resources), func(r Resource) bool { return !st.wants(r.Name) })
		if len(u.Resources) == 0 && !st.all {
			continue
		}
		refused := c.receiver.Update(u)
		for _, r := range u.Resources {
			if refused[r.Name] == nil {
				st.versions[r.Name] = ""
			}
		}
		if len(refused) > 0 {
			c.options.Logger.Error("refused what an earlier run had accepted", "type", u.TypeURL, "reason", text(refused))
		}
	}
	c.subscribe()
	for _, url := range slices.Sorted(maps.Keys(c.types)) {
		st := c.types[url]
		// What it refers to and is not there was not there in the earlier run either.
		for _, name := range slices.Sorted(maps.Keys(st.names)) {
			if _, have := st.versions[name]; !have {
				c.receiver.Missing(url, name)
			}
		}
		st.resetStream()
	}
}
