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
	sound     bool // it had accepted what was published before
	missed    int  // how often it was waited for in vain since it said something
}

// word is what a proxy said last of a type.
type word struct {
	version string
	refused bool
	text    string
	at      time.Time
	old     bool // the text was said before, and of something else beside
}

// Node is part of server.Observer.
func (r *Room) Node(id server.StreamID, n server.Node) {
	r.Observer.Node(id, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before(n.Cluster)
	r.streams[id] = &stream{
		fleet: n.Cluster, id: clip(n.ID, 256), class: clip(strings.TrimSpace(n.Agent+" "+n.Version), 256), since: time.Now(), types: map[string]word{},
	}
	r.stir()
}

// StreamClosed is part of server.Observer.
func (r *Room) StreamClosed(id server.StreamID) {
	r.Observer.StreamClosed(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, id)
	r.stir()
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
	r.mu.Lock()
	text := ""
	if s := r.streams[id]; s != nil {
		text = s.types[typeURL].text // it is still the same
	}
	r.mu.Unlock()
	r.heard(id, typeURL, word{version: version, refused: true, text: text, old: true})
}

func (r *Room) heard(id server.StreamID, typeURL string, w word) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[id]
	if _, known := resource.ByURL(typeURL); s == nil || !known {
		return
	}
	w.at = time.Now()
	s.types[typeURL] = w
	s.missed = 0
	r.stir()
}

// before looks at what was said before a newcomer joins a fleet, since that is not withdrawn because of it. In a large fleet one
// decides nothing anyhow, and there a thousand come at once.
func (r *Room) before(name string) {
	const large = 64
	if f := r.fleets[name]; r.stirred && r.search == nil && f != nil && len(r.streams) <= large && !sameDocuments(f.proven, r.published.Documents) {
		r.step()
	}
}

// stir looks at what was said, a moment later: there is more to come.
func (r *Room) stir() {
	if r.published != nil && !r.stirred && !r.closed {
		r.stirred = true
		r.timer.Reset(moment)
	}
}

// moment is so short that it adds little to a publication, and so long that a thousand proxies that answer it are counted once
// and not a thousand times.
const moment = 20 * time.Millisecond

// clip cuts text to so many bytes, and makes it valid UTF-8 in one line.
func clip(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit-3], "") + "…"
	}
	return text
}

var _ server.Withholder = (*Room)(nil)
