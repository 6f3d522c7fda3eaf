package quarantine

import (
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// stream is one proxy, as long as it is connected.
type stream struct {
	fleet, id string
	class     string // its software: what one of a class takes all take
	since     time.Time
	types     map[string]word
}

// word is what a proxy said last of a type.
type word struct {
	version string
	refused bool
	text    string
	at      time.Time
}

// Node is part of server.Observer.
func (r *Room) Node(id server.StreamID, n server.Node) {
	r.Observer.Node(id, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[id] = &stream{
		fleet: n.Cluster, id: clip(n.ID, 256), class: clip(strings.TrimSpace(n.Agent+" "+n.Version), 256), since: time.Now(), types: map[string]word{},
	}
	r.soon()
}

// StreamClosed is part of server.Observer.
func (r *Room) StreamClosed(id server.StreamID) {
	r.Observer.StreamClosed(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, id)
	r.soon()
}

// Acked is part of server.Observer.
func (r *Room) Acked(id server.StreamID, typeURL, version string) {
	r.Observer.Acked(id, typeURL, version)
	r.heard(id, typeURL, word{version: version})
}

// Nacked is part of server.Observer.
func (r *Room) Nacked(id server.StreamID, typeURL, version, message string) {
	r.Observer.Nacked(id, typeURL, version, message)
	r.heard(id, typeURL, word{version: version, refused: true, text: clip(message, maxText)})
}

// Withheld is part of server.Withholder.
func (r *Room) Withheld(id server.StreamID, typeURL, version string) {
	if w, ok := r.Observer.(server.Withholder); ok {
		w.Withheld(id, typeURL, version)
	}
	r.heard(id, typeURL, word{version: version, refused: true})
}

func (r *Room) heard(id server.StreamID, typeURL string, w word) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[id]
	if _, known := resource.ByURL(typeURL); s == nil || !known {
		return
	}
	if w.refused && w.text == "" {
		w.text = s.types[typeURL].text // it is still the same
	}
	w.at = time.Now()
	s.types[typeURL] = w
	r.soon()
}

// clip cuts text to so many bytes, and makes it valid UTF-8 in one line.
func clip(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit-3], "") + "…"
	}
	return text
}

var _ server.Withholder = (*Room)(nil)
