package status

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// StreamOpened is part of server.Observer.
func (t *Tracker) StreamOpened(id server.StreamID, peer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[id] = &stream{peer: peer}
}

// Node is part of server.Observer. A proxy that opens another stream is known by that one from now on.
func (t *Tracker) Node(id server.StreamID, n server.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	if s == nil || s.proxy != nil {
		return
	}
	k := key{fleet: clip(n.Cluster, maxName), id: clip(n.ID, maxName)}
	p := t.proxies[k]
	logged := map[string]string{}
	switch {
	case p == nil:
		p = &proxy{key: k, open: map[server.StreamID]*stream{}}
		t.proxies[k] = p
	default:
		for url, r := range p.types {
			logged[url] = r.logged
		}
		if !p.connected {
			t.gone--
		}
	}
	s.agent, s.proxy, s.since = clip(strings.TrimSpace(n.Agent+" "+n.Version), maxName), p, t.opts.Now()
	s.types = map[string]*record{}
	for url, text := range logged {
		s.types[url] = &record{logged: text, state: NotSent, since: s.since}
	}
	p.open[id] = s
	p.follow(id, s)
	t.opts.Logger.Info("proxy connected", "fleet", p.fleet, "proxy", p.id, "agent", p.agent, "peer", p.peer)
	t.ring()
}

// StreamClosed is part of server.Observer.
func (t *Tracker) StreamClosed(id server.StreamID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	delete(t.streams, id)
	if s == nil || s.proxy == nil {
		return
	}
	p := s.proxy
	delete(p.open, id)
	if p.current != id {
		return
	}
	if len(p.open) > 0 {
		other := slices.Max(slices.Collect(maps.Keys(p.open)))
		p.follow(other, p.open[other])
		for url, r := range p.types {
			t.judge(p, url, r)
		}
		t.warnDouble(p)
		t.ring()
		return
	}
	p.connected, p.since = false, t.opts.Now()
	t.gone++
	if t.gone > t.opts.KeepMost {
		t.forget()
	}
	t.opts.Logger.Info("proxy disconnected", "fleet", p.fleet, "proxy", p.id)
	t.ring()
}

// follow makes a stream the one that counts.
func (p *proxy) follow(id server.StreamID, s *stream) {
	p.current, p.connected = id, true
	p.agent, p.peer, p.since, p.types = s.agent, s.peer, s.since, s.types
}

// warnDouble says once that an earlier stream lives on beside a later one: that is another proxy.
func (t *Tracker) warnDouble(p *proxy) {
	if !p.double {
		p.double = true
		t.opts.Logger.Warn("two proxies have the same node id: only the one that connected last is shown; give each its own", "fleet", p.fleet, "proxy", p.id)
	}
}

// Sent is part of server.Observer.
func (t *Tracker) Sent(id server.StreamID, typeURL, version string) {
	t.observe(id, typeURL, func(_ *proxy, r *record) { r.sent = version })
}

// Acked is part of server.Observer.
func (t *Tracker) Acked(id server.StreamID, typeURL, version string) {
	t.observe(id, typeURL, func(p *proxy, r *record) {
		if p.current != id {
			t.warnDouble(p)
		}
		r.accepted = version
		if r.logged != "" && r.refused != "" {
			t.opts.Logger.Info("proxy accepts again", "fleet", p.fleet, "proxy", p.id, "type", short(typeURL), "version", version)
			r.logged = ""
		}
		r.refused, r.text, r.about, r.more = "", "", nil, 0
	})
}

// Nacked is part of server.Observer. A rejection is logged once, and not again for each retry.
func (t *Tracker) Nacked(id server.StreamID, typeURL, version, message string) {
	t.observe(id, typeURL, func(p *proxy, r *record) {
		if p.current != id {
			t.warnDouble(p)
		}
		r.refused, r.text = version, clip(strings.TrimSpace(message), maxText)
		s := t.streams[id]
		if len(s.suspects) > 0 { // else it is what it was about before
			r.about, r.more = about(s.suspects, r.text)
			s.suspects = nil
		}
		if line := version + " " + r.text; line != r.logged {
			r.logged = line
			args := []any{"fleet", p.fleet, "proxy", p.id, "type", short(typeURL), "version", version, "error", r.text}
			t.opts.Logger.Warn("proxy refused", append(args, t.describe(p.fleet, typeURL, r.about, r.more)...)...)
		}
	})
}

func (t *Tracker) observe(id server.StreamID, typeURL string, change func(*proxy, *record)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	if s == nil || s.proxy == nil {
		return
	}
	if _, known := resource.ByURL(typeURL); !known {
		return // nothing of it exists here, and a stranger's words are not kept
	}
	// A stream that does not count is noted all the same: it may be the one that lives on.
	r := s.types[typeURL]
	if r == nil {
		r = &record{state: NotSent, since: s.since}
		s.types[typeURL] = r
	}
	change(s.proxy, r)
	t.judge(s.proxy, typeURL, r)
	if s.proxy.current == id {
		t.ring()
	}
}

func short(typeURL string) string {
	if t, ok := resource.ByURL(typeURL); ok {
		return t.Short
	}
	return typeURL
}

// clip cuts text to so many bytes, and makes it valid UTF-8.
func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
