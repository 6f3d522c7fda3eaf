// Package load makes load for the benchmarks: fixed requests over connections that stay, by an event loop that allocates
// nothing for a request, and new TLS connections.
//
// In: an address, the request, what the answer must look like. Out: how many were answered. An answer that is not as it
// must be is an error, never a count. It must not know which proxy is asked.
package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// session speaks a protocol on one connection. data is called with what has come.
type session interface {
	start(t transport) error
	data(t transport, p []byte) error
}

// transport is a connection, with TLS or without. What is written must not change before it is gone.
type transport interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
}

// Load is a set of connections.
type Load struct {
	loop  *loop.Loop
	conns []*conn
	kind  Kind

	// stopping: an answer is followed by no new request.
	stopping bool
	inFlight int
	done     int64
	err      error
	buf      []byte
}

// conn joins a connection to its session.
type conn struct {
	load      *Load
	transport transport
	session   session
	secure    bool
}

// Open makes connections to an address. Secure, if not nil, speaks TLS on them.
func Open(addr string, conns int, secure *Secure, kind Kind) (*Load, error) {
	events, err := loop.New()
	if err != nil {
		return nil, err
	}
	l := &Load{loop: events, kind: kind, buf: make([]byte, 256<<10)}
	if err := l.connect(addr, conns, secure); err != nil {
		events.Close()
		return nil, err
	}
	return l, nil
}

func (l *Load) connect(addr string, conns int, secure *Secure) (err error) {
	for range conns {
		c := &conn{load: l, session: l.kind.session(l), secure: secure != nil}
		if secure != nil {
			c.transport, err = secure.dial(l.loop, addr, c)
		} else {
			c.transport, err = l.loop.Dial(addr, c)
		}
		if err != nil {
			return err
		}
		l.conns = append(l.conns, c)
	}
	return nil
}

// Idle makes connections that ask once each and then stay idle. Few are busy at a time, so that the proxy needs few
// connections to its upstream.
func Idle(addr string, conns int, secure *Secure, kind Kind) (*Load, error) {
	l, err := Open(addr, 0, nil, kind)
	if err != nil {
		return nil, err
	}
	for left := conns; left > 0; left -= len(l.conns) {
		l.conns = l.conns[:0] // the loop keeps them
		if err = l.connect(addr, min(left, 16), secure); err == nil {
			_, _, err = l.Run(0)
		}
		if err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Kind is a protocol with its request: HTTP1, HTTP2 or Echo.
type Kind interface{ session(by counter) session }

// counter is told by a session of what it does.
type counter interface {
	// sent: a request goes out.
	sent()
	// answered: one was answered. It tells whether another is wanted now.
	answered() (more bool)
}

// Len is how many connections there are.
func (l *Load) Len() int { return l.loop.Len() }

// Close closes the connections.
func (l *Load) Close() { l.loop.Close() }

// stall is how long a load may go without an answer.
const stall = 20 * time.Second

// Run keeps every connection busy for a time, then waits until all is answered. It returns how many were, and how long
// that took.
func (l *Load) Run(d time.Duration) (done int64, took time.Duration, err error) {
	begin := time.Now()
	before := l.done
	l.stopping = false
	for _, c := range l.conns {
		if err := c.session.start(c.transport); err != nil {
			return 0, 0, err
		}
	}
	last, progress := l.done, begin
	err = l.loop.Run(func() bool {
		now := time.Now()
		if l.done != last {
			last, progress = l.done, now
		}
		if now.Sub(begin) >= d {
			l.stopping = true
		}
		if l.err == nil && now.Sub(progress) > stall {
			l.err = fmt.Errorf("no answer for %v, %d requests in flight", stall, l.inFlight)
		}
		return l.err != nil || l.stopping && l.inFlight == 0
	})
	if err := errors.Join(l.err, err); err != nil {
		return 0, 0, fmt.Errorf("load: %w", err)
	}
	return l.done - before, time.Since(begin), nil
}

// Readable is the loop's call.
func (c *conn) Readable(*loop.Conn) error {
	for {
		n, err := c.transport.Read(c.load.buf)
		if n > 0 {
			if err := c.session.data(c.transport, c.load.buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, loop.Again) {
			return nil
		}
		if err != nil {
			return err
		}
		if !c.secure { // the loop calls again if there is more; TLS may have it already
			return nil
		}
	}
}

// Closed is the loop's call: no proxy may close a connection that is in use.
func (c *conn) Closed(_ *loop.Conn, err error) {
	if c.load.err == nil {
		c.load.err = fmt.Errorf("connection ended after %d answers: %w", c.load.done, err)
	}
}

// sent and answered count a request. answered tells whether another one is wanted.
func (l *Load) sent() { l.inFlight++ }

func (l *Load) answered() (more bool) {
	l.inFlight--
	l.done++
	return !l.stopping
}
