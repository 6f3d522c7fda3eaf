package status

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// Streams are asked what their clients have: they know it anyway, so that nothing is kept here for each proxy and resource.
type Streams interface {
	Inspect(ctx context.Context, id server.StreamID, troubled bool) (*server.View, error)
}

// Ref is a resource, and the documents that it came from.
type Ref struct {
	// URL and Short name the type.
	URL, Short, Name string
	Origins          []provenance.Origin
}

// Resource is what a proxy has of one resource.
type Resource struct {
	Ref
	State State
	// Wanted, Sent and Accepted are versions of its content: what is served, what was sent last, what was accepted last.
	// Empty is none; nothing wanted is to be dropped.
	Wanted, Sent, Accepted string
	// Error is the proxy's own words about a response, where State is Error; they may be about any of Doubts resources.
	Error  string
	Doubts int
	// Since is when it came to this state; for Synced, since when the version is served or the proxy is connected.
	Since time.Time
}

// Ask sets whom Resources asks, and who finds the documents of a fleet's resource, which must not block. It comes before the
// first stream.
func (t *Tracker) Ask(streams Streams, origins func(fleet, typeURL, name string) []provenance.Origin) {
	t.streamed, t.origins = streams, origins
}

// ErrUnknown: there is no such proxy, or it is forgotten.
var ErrUnknown = errors.New("status: no such proxy has connected")

// Resources is what one proxy has of each resource, by type in push order and name; of one that went nobody knows. Those that
// are Synced are left out if troubled is true. The error is ErrUnknown, or that of ctx.
func (t *Tracker) Resources(ctx context.Context, fleet, id string, troubled bool) ([]Resource, error) {
	t.mu.Lock()
	p := t.proxies[key{fleet, id}]
	var stream server.StreamID
	connected := p != nil && p.connected
	if connected {
		stream = p.current
	}
	t.mu.Unlock()
	switch {
	case p == nil:
		return nil, ErrUnknown
	case !connected, t.streamed == nil:
		return nil, nil
	}
	view, err := t.streamed.Inspect(ctx, stream, troubled)
	if errors.Is(err, server.ErrGone) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	out := make([]Resource, 0, len(view.Resources))
	for _, r := range view.Resources {
		out = append(out, Resource{
			Ref: t.ref(fleet, r.TypeURL, r.Name), State: State(r.State), Wanted: r.Wanted, Sent: r.Sent, Accepted: r.Accepted,
			Error: clip(strings.TrimSpace(r.Error), maxText), Doubts: r.Doubts, Since: r.Since,
		})
	}
	return out, nil
}

func (t *Tracker) ref(fleet, typeURL, name string) Ref {
	r := Ref{URL: typeURL, Short: short(typeURL), Name: name}
	if t.origins != nil {
		r.Origins = t.origins(fleet, typeURL, name)
	}
	return r
}

// Refused is for server.Options.Refusals: it comes right before Nacked, with the names that the refusal may be about.
func (t *Tracker) Refused(id server.StreamID, typeURL string, names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.streams[id]; s != nil {
		s.suspects = names
	}
}

// maxAbout is how many resources are named of a refusal.
const maxAbout = 3

// about picks from the names that a refusal may be about: those that its text names, if there are any. more is how many are
// left out.
func about(names []string, text string) (few []string, more int) {
	named := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !mentions(text, name) })
	if len(named) == 0 {
		named = names
	}
	few = slices.Sorted(slices.Values(named))
	if len(few) > maxAbout {
		few, more = few[:maxAbout], len(few)-maxAbout
	}
	return slices.Clip(slices.Clone(few)), more
}

// mentions tells whether a text has a name, not as a part of a longer one.
func mentions(text, name string) bool {
	part := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
	}
	for from := 0; name != ""; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			break
		}
		i += from
		end := i + len(name)
		if (i == 0 || !part(text[i-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
		from = i + 1
	}
	return false
}

// describe puts the resources of a refusal, and where they are from, into attributes of a log line.
func (t *Tracker) describe(fleet, typeURL string, names []string, more int) []any {
	if len(names) == 0 {
		return nil
	}
	var origins []string
	for _, name := range names {
		for i, o := range t.ref(fleet, typeURL, name).Origins {
			if text := o.String(); i < maxAbout && !slices.Contains(origins, text) {
				origins = append(origins, text)
			}
		}
	}
	args := []any{"resources", strings.Join(names, ", ")}
	if more > 0 {
		args = append(args, "more", more)
	}
	if len(origins) > 0 {
		args = append(args, "from", strings.Join(origins, ", "))
	}
	return args
}

// Age is how long ago a version was published, if it is a fleet's newest and came after the stream had begun: what a stream
// gets to begin with says nothing about how fast changes travel.
func (t *Tracker) Age(id server.StreamID, typeURL, version string) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.streams[id]
	if s == nil || s.proxy == nil {
		return 0, false
	}
	newest, known := t.newest[s.proxy.fleet][typeURL]
	if !known || newest.Version != version || !newest.at.After(s.since) {
		return 0, false
	}
	return t.opts.Now().Sub(newest.at), true
}

// Changed is closed when something is not as it was.
func (t *Tracker) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// stamp notes since when versions are the newest. Callers hold mu.
func (t *Tracker) stamp(fleets map[string]map[string]Published) {
	now := t.opts.Now()
	for fleet, types := range fleets {
		for url, p := range types {
			if p.at = now; t.newest[fleet][url].Version == p.Version && !t.newest[fleet][url].at.IsZero() {
				p.at = t.newest[fleet][url].at
			}
			types[url] = p
		}
	}
}

// count is how many a fleet has of a type.
func (t *Tracker) count(fleet string, typ resource.Type) int {
	return t.newest[fleet][typ.URL].Resources
}
