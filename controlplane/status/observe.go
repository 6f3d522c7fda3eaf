package status

import (
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
		p = &proxy{key: k}
		t.proxies[k] = p
	default:
		for url, r := range p.types {
			logged[url] = r.logged
		}
		if !p.connected {
			t.gone--
		}
	}
	p.agent = clip(strings.TrimSpace(n.Agent+" "+n.Version), maxName)
	p.peer, p.current, p.connected, p.since = s.peer, id, true, t.opts.Now()
	p.types = map[string]*record{}
	for url, text := range logged {
		p.types[url] = &record{logged: text, state: NotSent, since: p.since}
	}
	s.proxy = p
	t.opts.Logger.Info("proxy connected", "fleet", p.fleet, "proxy", p.id, "agent", p.agent, "peer", p.peer)
	t.ring()
}

// StreamClosed is part of server.Observer.
func (t *Tracker) StreamClosed(id server.StreamID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	delete(t.streams, id)
	if s == nil || s.proxy == nil || s.proxy.current != id {
		return
	}
	p := s.proxy
	p.connected, p.since = false, t.opts.Now()
	t.gone++
	if t.gone > t.opts.KeepMost {
		t.forget()
	}
	t.opts.Logger.Info("proxy disconnected", "fleet", p.fleet, "proxy", p.id)
	t.ring()
}

// Sent is part of server.Observer.
func (t *Tracker) Sent(id server.StreamID, typeURL, version string) {
	t.observe(id, typeURL, func(_ *proxy, r *record) { r.sent = version })
}

// Acked is part of server.Observer.
func (t *Tracker) Acked(id server.StreamID, typeURL, version string) {
	t.observe(id, typeURL, func(p *proxy, r *record) {
		r.accepted = version
		if r.logged != "" && r.refused != "" {
			t.opts.Logger.Info("proxy accepts again", "fleet", p.fleet, "proxy", p.id, "type", short(typeURL), "version", version)
			r.logged = ""
		}
		r.refused, r.text = "", ""
	})
}

// Nacked is part of server.Observer. A rejection is logged once, and not again for each retry.
func (t *Tracker) Nacked(id server.StreamID, typeURL, version, message string) {
	t.observe(id, typeURL, func(p *proxy, r *record) {
		r.refused, r.text = version, clip(message, maxText)
		if line := version + " " + r.text; line != r.logged {
			r.logged = line
			t.opts.Logger.Warn("proxy refused", "fleet", p.fleet, "proxy", p.id, "type", short(typeURL), "version", version, "error", r.text)
		}
	})
}

func (t *Tracker) observe(id server.StreamID, typeURL string, change func(*proxy, *record)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	if s == nil || s.proxy == nil || s.proxy.current != id {
		return
	}
	if _, known := resource.ByURL(typeURL); !known {
		return // nothing of it exists here, and a stranger's words are not kept
	}
	r := s.proxy.types[typeURL]
	if r == nil {
		r = &record{state: NotSent, since: s.proxy.since}
		s.proxy.types[typeURL] = r
	}
	change(s.proxy, r)
	t.judge(s.proxy, typeURL, r)
	t.ring()
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
