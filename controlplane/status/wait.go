package status

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// WaitError says who had not accepted the newest when the wait ended.
type WaitError struct {
	// Fleet is theirs. Unknown: nothing is served to it, since no Gateway is of this fleet.
	Fleet   string
	Unknown bool
	// Connected of at least Want proxies were connected.
	Connected, Want int
	// Lagging are those that had not accepted, with the types of which they had not.
	Lagging []Proxy
	// Cause is why the wait ended.
	Cause error
}

// Error names at most five proxies.
func (e *WaitError) Error() string {
	var parts []string
	if e.Unknown {
		parts = append(parts, fmt.Sprintf("no Gateway is of fleet %q", e.Fleet))
	}
	if e.Connected < e.Want {
		parts = append(parts, fmt.Sprintf("got %d proxies connected, want at least %d", e.Connected, e.Want))
	}
	const most = 5
	for i, p := range e.Lagging {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Lagging)-most))
			break
		}
		var types []string
		for _, t := range p.Types {
			text := t.Short + " " + string(t.State)
			if t.Error != "" {
				text += ": " + t.Error
			}
			types = append(types, text)
		}
		parts = append(parts, p.ID+" ("+strings.Join(types, ", ")+")")
	}
	if len(parts) == 0 {
		return e.Cause.Error()
	}
	return strings.Join(parts, "; ")
}

// Unwrap is the cause.
func (e *WaitError) Unwrap() error { return e.Cause }

// Wait returns when every connected proxy of a fleet, and at least atLeast of them, has accepted the newest of every
// type that it needs. When ctx ends first the error is a *WaitError.
func (t *Tracker) Wait(ctx context.Context, fleet string, atLeast int) ([]Proxy, error) {
	for {
		t.mu.Lock()
		published, known := t.newest[fleet]
		proxies := t.list(func(p *proxy) bool { return p.fleet == fleet && p.connected })
		changed := t.changed
		t.mu.Unlock()
		var lagging []Proxy
		for _, p := range proxies {
			if p.Types = behind(p, published); len(p.Types) > 0 {
				lagging = append(lagging, p)
			}
		}
		if len(lagging) == 0 && len(proxies) >= atLeast {
			return proxies, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &WaitError{Fleet: fleet, Unknown: !known, Connected: len(proxies), Want: atLeast, Lagging: lagging, Cause: context.Cause(ctx)}
		}
	}
}

// behind are the types of which a proxy has not accepted all that there is. It asks for clusters and listeners always, and for the
// rest where there is some.
func behind(p Proxy, published map[string]Published) (types []Type) {
	for _, t := range p.Types {
		needed := published[t.URL].Resources > 0 || t.URL == resource.ClusterType || t.URL == resource.ListenerType
		if t.State != Synced && (needed || t.State != NotSent) {
			types = append(types, t)
		}
	}
	return types
}
