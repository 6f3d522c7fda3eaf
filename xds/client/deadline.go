package client

import (
	"maps"
	"slices"
	"time"
)

// never is far enough away for a timer that waits for nothing.
const never = 365 * 24 * time.Hour

// nextDeadline is a timer for the soonest TTL or missing resource.
func (c *Client) nextDeadline() *time.Timer {
	var soonest time.Time
	for _, st := range c.types {
		for _, times := range []map[string]time.Time{st.due, st.expiry} {
			for _, t := range times {
				if soonest.IsZero() || t.Before(soonest) {
					soonest = t
				}
			}
		}
	}
	if soonest.IsZero() {
		return time.NewTimer(never)
	}
	return time.NewTimer(time.Until(soonest))
}

// expire removes what outlived its TTL (rule 25), and reports what did not come (rule 24).
func (c *Client) expire() {
	now := time.Now()
	for _, url := range slices.Sorted(maps.Keys(c.types)) {
		st := c.types[url]
		if names := past(st.expiry, now); len(names) > 0 {
			for _, name := range names {
				st.drop(name)
			}
			c.options.Logger.Warn("resources outlived their TTL and are removed", "type", url, "names", names)
			c.receiver.Update(Update{TypeURL: url, Removed: names, Expired: true})
		}
		for _, name := range past(st.due, now) {
			delete(st.due, name)
			c.options.Logger.Warn("a resource did not come", "type", url, "name", name, "after", c.options.MissingAfter)
			c.receiver.Missing(url, name)
		}
	}
}

// past are the names whose time has come, sorted.
func past(times map[string]time.Time, now time.Time) []string {
	var names []string
	for name, t := range times {
		if !t.After(now) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
