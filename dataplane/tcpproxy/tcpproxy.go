// Package tcpproxy carries bytes between a client and an endpoint, both ways at once, and does not look at them.
//
// In: an accepted connection and the clusters of the moment. Out: a record of what was carried. It must not know what
// protocol the bytes are, nor how the connection was accepted.
package tcpproxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
	"github.com/sluice-proxy/sluice/dataplane/route"
)

// Dialer connects a client at an address to an endpoint of one cluster; *upstream.Client is one.
type Dialer interface {
	// The client's addresses are for clusters that are told them.
	DialTCP(ctx context.Context, client proxyprotocol.Header) (net.Conn, *cluster.Endpoint, error)
}

// Options are a Proxy's. Read-only after New.
type Options struct {
	Config *config.TCP
	// Cluster finds a cluster by its name, at the moment that a connection begins; false if there is none.
	Cluster func(name string) (Dialer, *cluster.Stats, bool)
	// Logs get one record for each connection.
	Logs []*accesslog.Logger
	// Stats are counted in; it must not be nil.
	Stats *Stats
}

// Stats counts for one filter chain's name.
type Stats struct {
	ConnectionsActive, ConnectionsTotal atomic.Int64
	// Failed found no cluster or no endpoint that takes a connection; Idle were closed since neither side spoke.
	Failed, Idle atomic.Int64
	// BytesReceived and BytesSent are from and to clients.
	BytesReceived, BytesSent atomic.Int64
}

// Conn is what is known of a connection, for its record.
type Conn struct {
	// Peer is the client, and Local where it has connected to. Direct is who has connected in its name, by the PROXY
	// protocol; invalid if nobody has.
	Peer, Local, Direct netip.AddrPort
	// Socket is the path of the unix socket that it came by; those of the addresses that no header says are invalid then.
	Socket                    string
	Listener, Chain           string
	ServerName, TLSVersion    string
	Start                     time.Time
	received, sent            atomic.Int64
	cluster, upstream, detail string
}

// Proxy serves connections as one TCP filter is configured to. Any goroutine may use it.
type Proxy struct {
	options Options
	split   *route.Split
}

// New makes a Proxy.
func New(options Options) *Proxy {
	return &Proxy{options: options, split: route.NewSplit(options.Config.Clusters)}
}

// Serve carries one connection until both halves have ended, an error, the idle timeout, or until the client's side is
// closed by another goroutine. It closes both sides, and ends within the context's life plus the connect timeout.
func (p *Proxy) Serve(ctx context.Context, down net.Conn, c *Conn) {
	defer down.Close()
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	stats := p.options.Stats
	stats.ConnectionsTotal.Add(1)
	stats.ConnectionsActive.Add(1)
	defer stats.ConnectionsActive.Add(-1)
	flag := ""
	defer func() { p.log(c, flag) }()

	up, counters, err := p.connect(ctx, c)
	if err != nil {
		stats.Failed.Add(1)
		flag, c.detail = flagOf(err), err.Error()
		return
	}
	defer up.Close()
	pipe := &pipe{idle: p.options.Config.IdleTimeout, down: down, up: up}
	pipe.run(
		func(n int64) {
			c.received.Add(n)
			stats.BytesReceived.Add(n)
			counters.BytesSent.Add(n)
		},
		func(n int64) {
			c.sent.Add(n)
			stats.BytesSent.Add(n)
			counters.BytesReceived.Add(n)
		})
	if pipe.idled.Load() {
		stats.Idle.Add(1)
		c.detail = "idle timeout"
	}
}

// connect tries endpoints, as many as the configuration says.
func (p *Proxy) connect(ctx context.Context, c *Conn) (net.Conn, *cluster.Stats, error) {
	c.cluster = p.split.Pick(rand.Uint64())
	dialer, counters, ok := p.options.Cluster(c.cluster)
	if !ok {
		return nil, nil, failure.New(failure.NoCluster, fmt.Errorf("cluster %q", c.cluster))
	}
	for attempt := uint32(1); ; attempt++ {
		up, endpoint, err := dialer.DialTCP(ctx, proxyprotocol.Header{Source: c.Peer, Destination: c.Local})
		if endpoint != nil {
			c.upstream = endpoint.Address.String()
		}
		if err == nil {
			return up, counters, nil
		}
		var f *failure.Error
		another := errors.As(err, &f) && (f.Kind == failure.ConnectFailed || f.Kind == failure.ConnectTimeout)
		if !another || attempt >= p.options.Config.MaxConnectAttempts || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

func flagOf(err error) string {
	var f *failure.Error
	if errors.As(err, &f) {
		return f.Flag()
	}
	return "UF"
}

func (p *Proxy) log(c *Conn, flag string) {
	if len(p.options.Logs) == 0 {
		return
	}
	record := &accesslog.Record{
		Start: c.Start, Duration: time.Since(c.Start), Flags: flag, Details: c.detail,
		BytesReceived: c.received.Load(), BytesSent: c.sent.Load(),
		Cluster: c.cluster, Upstream: c.upstream,
		Remote: c.Peer, Peer: c.Peer, Local: c.Local, Socket: c.Socket, Listener: c.Listener, Chain: c.Chain,
		SNI: c.ServerName, TLSVersion: c.TLSVersion,
	}
	if c.Direct.IsValid() || c.Socket != "" {
		record.Peer = c.Direct
	}
	for _, l := range p.options.Logs {
		l.Log(record)
	}
}
