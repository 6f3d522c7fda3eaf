package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// maxRefusal limits the text of a NACK, in bytes.
const maxRefusal = 8 << 10

// handle judges one response and returns its one ACK or NACK (rule 22), which is due even for a type of which nothing is
// wanted any more (rule 26).
func (c *Client) handle(r *response) *request {
	answer := &request{typeURL: r.typeURL, nonce: r.nonce, answers: true}
	st := c.types[r.typeURL]
	if st == nil || !st.requested {
		answer.refusal = fmt.Sprintf("type %s: not asked for", r.typeURL)
		c.count(r.typeURL, true)
		return answer
	}
	st.nonce = r.nonce
	first := !st.answered
	st.answered = true
	delete(st.due, Wildcard)

	j := c.judge(st, r)
	refused := j.refused
	if u := j.update; len(u.Resources)+len(u.Removed) > 0 || (st.all && first) {
		for name, err := range c.receiver.Update(u) {
			refused[name] = err
		}
	}
	now := time.Now()
	for _, res := range j.update.Resources {
		delete(st.due, res.Name)
		if refused[res.Name] != nil {
			// The version accepted before stays (rule 10).
			st.refused[res.Name] = true
			continue
		}
		delete(st.refused, res.Name)
		st.versions[res.Name] = res.Version
		st.setTTL(res.Name, j.ttls[res.Name], now)
	}
	for _, name := range j.update.Removed {
		delete(st.due, name)
		st.drop(name)
	}
	if len(refused) == 0 {
		st.version = r.version
	} else {
		answer.refusal = text(refused)
		c.options.Logger.Warn("refused what the control plane sent", "type", r.typeURL, "version", r.version, "reason", answer.refusal)
	}
	answer.version = st.version
	if !st.all {
		answer.names = slices.Sorted(maps.Keys(st.asked))
	}
	c.count(r.typeURL, len(refused) > 0)
	return answer
}

// judgement is a response, as far as the protocol alone can judge it.
type judgement struct {
	update  Update
	ttls    map[string]ttl
	refused map[string]error
}

// ttl is a resource's time to live.
type ttl struct {
	set   bool
	after time.Duration
}

// judge sorts the resources of a response: heartbeats are taken, what breaks the protocol is refused, what is not
// wanted (any more) is left out, and the rest is the Update.
func (c *Client) judge(st *typeState, r *response) judgement {
	j := judgement{
		update:  Update{TypeURL: r.typeURL, Version: r.version},
		ttls:    map[string]ttl{},
		refused: map[string]error{},
	}
	present := map[string]bool{}
	// partial: absence says nothing, since what is absent may be the resource that has no readable name, or did not need
	// a heartbeat.
	partial := false
	for n, i := range r.resources {
		name, err := c.check(r, i)
		if name == "" {
			partial = true
			j.refused[fmt.Sprintf("#%d", n)] = fmt.Errorf("resource #%d: %w", n, err)
			continue
		}
		if !st.wants(name) {
			continue
		}
		if present[name] {
			err = errors.New("stands twice in one response")
			j.update.Resources = slices.DeleteFunc(j.update.Resources, func(r Resource) bool { return r.Name == name })
		}
		present[name] = true
		if _, twice := j.refused[name]; twice {
			continue
		}
		if err == nil && i.body == nil {
			partial = true
			err = st.heartbeat(name, i)
			if err == nil {
				continue
			}
		}
		if err != nil {
			j.refused[name] = fmt.Errorf("resource %q: %w", name, err)
			continue
		}
		version := i.version
		if version == "" {
			version = r.version
		}
		j.update.Resources = append(j.update.Resources, Resource{Name: name, Version: version, Body: i.body})
		j.ttls[name] = i.ttl
	}
	for _, name := range r.removed {
		if !present[name] && st.wants(name) {
			j.update.Removed = append(j.update.Removed, name)
		}
	}
	// Absence deletes in a response that is the full state (rule 8).
	if t, ok := resource.ByURL(r.typeURL); ok && t.FullState && c.options.StateOfTheWorld && !partial {
		gone := map[string]bool{}
		for name := range st.versions {
			gone[name] = !present[name]
		}
		for name := range st.refused {
			gone[name] = !present[name]
		}
		for _, name := range slices.Sorted(maps.Keys(gone)) {
			if gone[name] {
				j.update.Removed = append(j.update.Removed, name)
			}
		}
	}
	return j
}

// check finds a resource's name, and whether its wrapper and its body agree.
func (c *Client) check(r *response, i item) (name string, err error) {
	if i.problem != nil {
		return "", i.problem
	}
	if i.body == nil {
		if i.name == "" {
			return "", errors.New("got neither a name nor a resource")
		}
		return i.name, nil
	}
	if i.body.TypeUrl != r.typeURL {
		return i.name, fmt.Errorf("got type %q, want %s", i.body.TypeUrl, r.typeURL)
	}
	inner, err := c.options.Name(i.body)
	if err != nil {
		return i.name, err
	}
	if i.name != "" && inner != i.name {
		return i.name, fmt.Errorf("got a resource that names itself %q", inner)
	}
	if inner == "" {
		return "", errors.New("got no name")
	}
	return inner, nil
}

func (st *typeState) wants(name string) bool { return st.all || st.names[name] }

// heartbeat renews a TTL: a resource without a body, of the version that is there. (rule 25)
func (st *typeState) heartbeat(name string, i item) error {
	version, have := st.versions[name]
	switch {
	case !have:
		return errors.New("got a heartbeat for what was never accepted")
	case i.version != version && i.version != "":
		return fmt.Errorf("got a heartbeat of version %q, have %q", i.version, version)
	}
	st.setTTL(name, i.ttl, time.Now())
	return nil
}

// setTTL starts the clock of a TTL. A resource that comes without one has none any more.
func (st *typeState) setTTL(name string, t ttl, now time.Time) {
	if !t.set {
		delete(st.expiry, name)
		return
	}
	st.expiry[name] = now.Add(t.after)
}

// text joins refusals, sorted by name.
func text(refused map[string]error) string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(refused))
	for i, name := range names {
		line := refused[name].Error()
		if b.Len() > 0 && b.Len()+len(line) > maxRefusal {
			fmt.Fprintf(&b, "\nand %d more", len(names)-i)
			break
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		if len(line) > maxRefusal {
			line = strings.ToValidUTF8(line[:maxRefusal], "") + "…"
		}
		b.WriteString(line)
	}
	// The field is a proto string: what a stranger put into an error must not make the request unsendable.
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}
