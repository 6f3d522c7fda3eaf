// Package httpproxy is the life of a request: read its head, route it, send it to an endpoint, send the answer back.
//
// In: a Stream from a codec (http1 or http2). Out: an exchange with an upstream. It must not know how bytes are framed
// downstream, nor where a configuration comes from: a State is handed to it.
package httpproxy

import (
	"crypto/tls"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// Stream is one request and its answer on a downstream connection. http1 and http2 implement it; one goroutine calls
// it, save that Read may run in another than Respond, Write, Flush and End.
type Stream interface {
	// Request is the head. It and its strings are valid until Serve returns.
	Request() *message.Request
	// Read reads the request's body, decoded. At io.EOF Request().Trailer is filled. A client that broke the protocol or
	// went away gives a *failure.Error. With "Expect: 100-continue" the first Read sends the 100.
	Read(p []byte) (int, error)
	// Respond sends the head; end says that no body follows. A status of 100 to 199 (101 aside) may go before.
	Respond(head *message.Response, end bool) error
	// Write sends a part of the body; it may wait for the client.
	Write(p []byte) (int, error)
	// Flush sends what is buffered.
	Flush() error
	// End ends the answer; trailer may be nil.
	End(trailer message.Header) error
	// Reset breaks the answer off, so that the client sees that it is not whole. Any goroutine may call it; it wakes Read
	// and Write.
	Reset()
	// SetReadDeadline fails a Read that waits, then or already, with failure.RequestTimeout; the answer can still be sent.
	// Any goroutine may call it.
	SetReadDeadline(t time.Time) error
}

// Conn is what is known of a downstream connection. Read-only after accept.
type Conn struct {
	// Peer is the client, and Local where it has connected to. Direct is who has connected in its name, by the PROXY
	// protocol; invalid if nobody has.
	Peer, Local, Direct netip.AddrPort
	// Socket is the path of the unix socket that it came by; those of the addresses that no header says are invalid then.
	Socket string
	// Origin is the connection for clusters that tell its addresses; who serves the connection closes it.
	Origin upstream.Origin
	// Client is what X-Forwarded-Client-Cert says of the client; empty is no such header.
	Client string
	// TLS is nil in plaintext.
	TLS *tls.ConnectionState
	// Listener and Chain are names of the configuration.
	Listener, Chain string
	// Draining is set when the connection is to end after the requests in flight.
	Draining *atomic.Bool
}

// State is what a request is served from: immutable, and swapped as a whole. A request uses the one it started with.
type State struct {
	table *route.Table
	// clients are in the order of table.Clusters: a request asks for one by its number, without a look-up by name.
	clients []*upstream.Client
}

// NewState serves a table's routes by the clients of their clusters, by name. A cluster without one answers 503.
func NewState(table *route.Table, clusters map[string]*upstream.Client) *State {
	s := &State{table: table, clients: make([]*upstream.Client, len(table.Clusters()))}
	for i, name := range table.Clusters() {
		s.clients[i] = clusters[name]
	}
	return s
}

// cluster is a cluster's name and client by its number in the table; -1 has neither.
func (s *State) cluster(number int) (string, *upstream.Client) {
	if number < 0 {
		return "", nil
	}
	return s.table.Clusters()[number], s.clients[number]
}
