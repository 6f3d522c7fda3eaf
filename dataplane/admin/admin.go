// Package admin is the proxy's own HTTP server for people and monitors: health, metrics, what runs, and draining. Paths
// and their meaning are Envoy's where Envoy has them:
// https://www.envoyproxy.io/docs/envoy/latest/operations/admin
//
// In: functions that tell the proxy's state when asked. Out: HTTP. It must not know how the state came to be, and
// changes nothing but by the functions that it is given.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/resolve"
)

// State is the proxy's own, in Envoy's words.
type State string

// The states.
const (
	// Initializing: no complete configuration yet.
	Initializing State = "INITIALIZING"
	// Live: serving.
	Live State = "LIVE"
	// Draining: finishing what is in flight.
	Draining State = "DRAINING"
)

// Listener is one listener, for metrics and /listeners.
type Listener struct {
	Name string
	// Addresses are what is bound.
	Addresses []config.Address
	// ConnectionsActive and ConnectionsTotal count accepted connections.
	ConnectionsActive, ConnectionsTotal int64
	// HandshakeFailures are connections that ended before a filter chain took them.
	HandshakeFailures int64
	// BadClientCertificates, among them, showed a certificate that is not taken.
	BadClientCertificates int64
	// Refused are connections that were shed, by reason.
	Refused map[string]int64
	// RequestsRefused were answered 503 for want of memory; BodiesSlow were given up since their clients sent too slowly.
	RequestsRefused, BodiesSlow int64
	// BadProxyHeaders began with a malformed PROXY protocol header, or with none where one must be.
	BadProxyHeaders int64
	// Requests counts answers by class: Requests[2] is 2xx; [0] is none sent.
	Requests [6]int64
	// RequestsActive are under way.
	RequestsActive int64
	// UpgradesActive are those that have switched to another protocol and speak it still; UpgradesTotal counts all.
	UpgradesActive, UpgradesTotal int64
}

// View is what runs at one moment.
type View struct {
	Listeners []Listener
	Clusters  []*cluster.Cluster
	// Connections are open now, of all listeners; MaxConnections is their bound.
	Connections, MaxConnections int64
	// MemoryUsed and MaxMemory are in bytes; 0 is no bound.
	MemoryUsed, MaxMemory int64
	// Names are those that are looked up.
	Names []resolve.Name
}

// XDS is the state of the control-plane connection.
type XDS struct {
	Connected bool
	// FallenBack: what serves is the last good configuration of an earlier run, since no control plane has answered yet.
	FallenBack bool
	// Updates and Rejects count responses by short type name: LDS, RDS, ….
	Updates, Rejects map[string]int64
}

// Options are what a Server shows. Every function may be called at any time, from several goroutines.
type Options struct {
	Version string
	State   func() State
	View    func() View
	// Overloaded is why new work is refused, in the words of Listener.Refused; nil is that none is. Other than View it must
	// not wait: health depends on it.
	Overloaded func() []string
	// XDS may be nil: a proxy with a static configuration.
	XDS func() XDS
	// ConfigDump is the JSON of /config_dump, with secrets redacted.
	ConfigDump func() ([]byte, error)
	// DrainListeners stops accepting and lets connections end.
	DrainListeners func()
	// Quit ends the process in good order.
	Quit func()
}

// Server serves on one listener.
type Server struct {
	options Options
	started time.Time
	http    *http.Server
	conns   conns
}

// New makes a Server; Serve runs it.
func New(options Options) *Server {
	s := &Server{options: options, started: time.Now()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&collector{server: s},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /ready", s.ready)
	mux.Handle("GET /stats/prometheus", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /config_dump", s.configDump)
	mux.HandleFunc("GET /clusters", s.clusters)
	mux.HandleFunc("GET /listeners", s.listeners)
	mux.HandleFunc("GET /server_info", s.serverInfo)
	profiles(mux)
	mux.HandleFunc("POST /drain_listeners", s.act(options.DrainListeners))
	mux.HandleFunc("POST /quitquitquit", s.act(options.Quit))
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.conns.state,
	}
	return s
}

// Serve answers until the context ends, and then for at most a second longer. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	// Not Shutdown: that drops the first request of a connection that has just come.
	_ = listener.Close()
	s.http.SetKeepAlivesEnabled(false)
	err := <-ended
	select {
	case <-s.conns.gone():
	case <-time.After(time.Second):
	}
	_ = s.http.Close() // what is still open has had its second
	if !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// conns counts connections.
type conns struct {
	mu sync.Mutex
	// Guarded by mu. none is closed when there are none; nil until somebody wants to know.
	open int
	none chan struct{}
}

func (c *conns) state(_ net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
	case http.StateClosed, http.StateHijacked:
		if c.open--; c.open == 0 && c.none != nil {
			close(c.none)
			c.none = nil
		}
	}
}

// gone is closed when the last has ended.
func (c *conns) gone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	none := make(chan struct{})
	if c.open == 0 {
		close(none)
	} else {
		c.none = none
	}
	return none
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, `sluice-proxy `+s.options.Version+`
GET  /ready              200 when serving, else 503 (and why)
GET  /stats/prometheus   metrics
GET  /config_dump        the resources as received, JSON
GET  /clusters           endpoints and their counters (?format=json)
GET  /listeners          addresses (?format=json)
GET  /server_info        version, state, uptime
GET  /debug/pprof/       profiles of Go: profile?seconds=30, heap, goroutine, …
POST /drain_listeners    stop accepting
POST /quitquitquit       end
`)
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	state := s.options.State()
	if state != Live {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, state)
		return
	}
	if why := s.options.Overloaded(); len(why) > 0 {
		// Other than Envoy's, which knows no such state: whoever is sent here now is refused.
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "OVERLOADED: "+strings.Join(why, ", "))
		return
	}
	fmt.Fprintln(w, state)
}

func (s *Server) configDump(w http.ResponseWriter, _ *http.Request) {
	data, err := s.options.ConfigDump()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // a client that went away has nobody to tell
}

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"version":              s.options.Version,
		"state":                s.options.State(),
		"uptime_current_epoch": fmt.Sprintf("%ds", int(time.Since(s.started).Seconds())),
	})
}

func (s *Server) act(do func()) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if do == nil {
			http.Error(w, "not supported here", http.StatusNotImplemented)
			return
		}
		fmt.Fprintln(w, "OK")
		do()
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	_ = encoder.Encode(v) // a client that went away has nobody to tell
}
