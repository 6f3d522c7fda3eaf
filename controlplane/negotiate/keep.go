package negotiate

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/xds/server"
)

// kept is a class and its proxies, by fleet, as it is remembered over a restart. Who was there then counts as one that went
// just now.
type kept struct {
	Agent    string              `json:"agent"`
	Features string              `json:"features"`
	Proxies  map[string][]string `json:"proxies"`
}

// Keep is what the next process is to know, a line of JSON for each class: what is held back must not go out in the moment
// before the proxies are there again. Equal knowledge is equal lines.
func (r *Room) Keep() []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	classes := map[*Class]*kept{}
	for k, p := range r.proxies {
		c := classes[p.class]
		if c == nil {
			c = &kept{Agent: p.class.Agent, Features: p.class.word, Proxies: map[string][]string{}}
			classes[p.class] = c
		}
		c.Proxies[k.fleet] = append(c.Proxies[k.fleet], k.id)
	}
	var lines []json.RawMessage
	for _, c := range classes {
		for _, ids := range c.Proxies {
			slices.Sort(ids)
		}
		line, err := json.Marshal(c)
		if err != nil {
			panic("negotiate: texts cannot be JSON: " + err.Error())
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b json.RawMessage) int { return strings.Compare(string(a), string(b)) })
	return lines
}

// remember takes what Keep said.
func (r *Room) remember(lines []json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range lines {
		var c kept
		if err := json.Unmarshal(line, &c); err != nil {
			r.opts.Logger.Error("what proxies support is not remembered", "error", err)
			continue
		}
		class := r.classOf(server.Node{Agent: c.Agent, Features: c.Features})
		if class.taken == nil {
			continue // this control plane sends no more than that
		}
		for fleet, ids := range c.Proxies {
			for _, id := range ids {
				if len(r.proxies) < maxProxies {
					p := &proxy{class: class}
					r.proxies[key{fleet, id}] = p
					r.leave(key{fleet, id}, p)
				}
			}
		}
	}
	if len(r.proxies) > 0 {
		r.seq++
	}
}

// leave needs mu.
func (r *Room) leave(k key, p *proxy) {
	p.gone = time.Now()
	time.AfterFunc(r.opts.KeepFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.proxies[k] == p && !p.gone.IsZero() {
			r.forget(k)
		}
	})
}
