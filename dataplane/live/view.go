package live

import (
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/listener"
)

// View is what runs at one moment. Its counters are those of the moment too.
type View struct {
	// Listeners and Clusters are in the order of their names.
	Listeners []ListenerView
	Clusters  []*cluster.Cluster
	// Connections are open now, those that drain among them; MaxConnections is their bound.
	Connections, MaxConnections int64
	// MemoryUsed and MaxMemory are of Options.Pressure, in bytes; 0 without it.
	MemoryUsed, MaxMemory int64
	// Draining is set once Drain has begun.
	Draining bool
}

// ListenerView is one listener. Counters are since its name was first configured.
type ListenerView struct {
	Name string
	// Address is what is bound, with the port that the system chose for port 0.
	Address config.Address
	Chains  []ChainView
	// ConnectionsActive and ConnectionsTotal are accepted connections.
	ConnectionsActive, ConnectionsTotal int64
	// Refused are connections that were shed, by listener.Reason's word; each has its own.
	Refused map[string]int64
	// RequestsRefused were answered 503 for want of memory; BodiesSlow were given up since their clients sent too slowly.
	RequestsRefused, BodiesSlow int64
	// HandshakeFailures ended before a filter chain could serve them: no ClientHello, no chain, no TLS.
	HandshakeFailures int64
	// BadClientCertificates, among the HandshakeFailures, showed a certificate that is not taken.
	BadClientCertificates int64
	// BadProxyHeaders, among the HandshakeFailures, began with a malformed PROXY protocol header, or with none where one must be.
	BadProxyHeaders int64
	// Panics are connections or requests that a fault of ours ended.
	Panics int64
	// Requests counts answers by class: Requests[2] is 2xx; [0] is none sent.
	Requests       [6]int64
	RequestsActive int64
	// UpgradesActive are those that have switched to another protocol and speak it still; UpgradesTotal counts all.
	UpgradesActive, UpgradesTotal int64
	// BytesReceived and BytesSent are from and to clients: bodies, or all bytes of TCP.
	BytesReceived, BytesSent int64
}

// ChainView is one filter chain of a listener's newest version.
type ChainView struct {
	Name              string
	ConnectionsActive int
}

// Overloaded is why new work is refused, whoever brings it: listener.Reason's words; nil is that none is. It does not wait.
func (r *Runtime) Overloaded() []string {
	var why []string
	if r.limit.Active() >= r.limit.Max() {
		why = append(why, listener.AtLimit.String())
	}
	if p := r.options.Pressure; p != nil && (p.Refusing() || p.Rejecting() || p.Paused() != nil) {
		why = append(why, listener.NoMemory.String())
	}
	return why
}

// View tells what runs. It is for monitors: it waits for an Apply that is under way.
func (r *Runtime) View() *View {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &View{Connections: r.limit.Active(), MaxConnections: r.limit.Max(), Draining: r.draining}
	if r.options.Pressure != nil {
		v.MemoryUsed, v.MaxMemory = r.options.Pressure.Memory()
	}
	counts := r.conns.count()
	for _, name := range slices.Sorted(maps.Keys(r.listeners)) {
		l := r.listeners[name]
		view := ListenerView{
			Name:                  name,
			Address:               config.Address{AddrPort: l.socket.socket.Addr(), Path: l.socket.socket.Place.Path},
			ConnectionsActive:     l.stats.ConnectionsActive.Load(),
			ConnectionsTotal:      l.stats.ConnectionsTotal.Load(),
			Refused:               map[string]int64{},
			RequestsRefused:       l.requestsRefused.Load(),
			BodiesSlow:            l.bodiesSlow.Load(),
			HandshakeFailures:     l.stats.PeekFailed.Load() + l.stats.NoChain.Load() + l.stats.HandshakeFailed.Load() + l.stats.HeaderBad.Load(),
			BadClientCertificates: l.stats.ClientRefused.Load(),
			BadProxyHeaders:       l.stats.HeaderBad.Load(),
			Panics:                l.stats.Panics.Load(),
			RequestsActive:        l.http.RequestsActive.Load(),
			UpgradesActive:        l.http.UpgradesActive.Load(),
			UpgradesTotal:         l.http.UpgradesTotal.Load(),
			BytesReceived:         l.http.BytesReceived.Load() + l.tcp.BytesReceived.Load(),
			BytesSent:             l.http.BytesSent.Load() + l.tcp.BytesSent.Load(),
		}
		for why := range listener.Reasons {
			view.Refused[why.String()] = l.stats.Refused[why].Load()
		}
		for class := range view.Requests {
			view.Requests[class] = l.http.Status[class].Load()
		}
		for _, c := range l.version.Load().all() {
			view.Chains = append(view.Chains, ChainView{Name: c.name, ConnectionsActive: counts[c]})
		}
		v.Listeners = append(v.Listeners, view)
	}
	for _, name := range slices.Sorted(maps.Keys(r.world.clusters)) {
		v.Clusters = append(v.Clusters, r.world.clusters[name].Cluster)
	}
	return v
}
