package http2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// What a client's connection keeps to.
const (
	// assumedStreams are assumed until the upstream's SETTINGS come, and maxClientStreams if those name no limit.
	assumedStreams   = 100
	maxClientStreams = 1000
	// maxStreamID is the last one; a connection that has used it takes no more (RFC 9113, 5.1.1).
	maxStreamID = 1<<31 - 1
	// connWindow is what an upstream may send to all streams before it hears of us. It is credited as bytes come, not as
	// they are read: one stream whose client reads nothing must not hold up the others. The streams' windows bound what
	// waits.
	connWindow = 16 << 20
)

// ClientOptions are one upstream connection's.
type ClientOptions struct {
	// IdleTimeout closes a connection without streams; 0 is never.
	IdleTimeout time.Duration
	// MaxHeaderBytes limits an answer's field section, as RFC 9113 counts it; 0 is 60 KiB.
	MaxHeaderBytes uint32
	// StreamWindow is how many bytes of one answer may wait to be read; 0 is 256 KiB. From 64 KiB - 1 to 2 GiB - 1.
	StreamWindow uint32
	// WriteTimeout closes a connection whose socket takes no byte for so long; 0 is never.
	WriteTimeout time.Duration
	// Room hears that the connection, which had no room for NewExchange, has some again, or never will, and that it has
	// ended, once its socket is closed. Any goroutine calls it; it must not wait. It may be nil.
	Room func()
}

// ClientConn is one connection to an upstream. Any goroutine may use it.
type ClientConn struct {
	// Read-only after NewClientConn.
	conn net.Conn
	opts ClientOptions
	// done is closed when the connection is over.
	done chan struct{}

	// Only the reading goroutine.
	in     *bufio.Reader
	framer *xhttp2.Framer
	fields *fieldReader
	// scratch is room for the next field section.
	scratch message.Header

	// out has the connection's lock: all below is guarded by out.mu, and nothing waits for the socket while it is held.
	out frameWriter
	// streams are those that have not ended on both sides, by id.
	streams map[uint32]*ClientStream
	// nextID is the next stream's; reserved counts exchanges that hold a stream and have not written a head.
	nextID   uint32
	reserved int
	// opened counts the streams begun. lingering are those of streams whose exchange is over, but not the upstream's side.
	opened, lingering int
	// maxStreams is the upstream's limit; greeted: its SETTINGS came.
	maxStreams uint32
	greeted    bool
	// extendedConnect: it takes CONNECT with :protocol (RFC 8441).
	extendedConnect bool
	// window is what the upstream takes on all streams, and streamWindow what a new stream begins with.
	window, streamWindow sendWindow
	// starved counts writers that wait for the connection's window.
	starved  int
	patience patience
	// gone are some streams that we reset lately: what was under way for them is nobody's fault.
	gone recentStreams
	// received is what the upstream may send on all streams.
	received receiveWindow
	// draining: no stream is begun any more, and the last that ends ends the connection. refusing: reserved ones fail too.
	draining, refusing bool
	// over is why the connection ended; nil while it lives.
	over *failure.Error
	// full: somebody was told that there is no room. news, kick and shut are for unlock: Room is to be called, frames are
	// to be sent, the socket is closed.
	full, news, kick, shut bool
	pings                  map[[8]byte]chan struct{}
	pinged                 uint64
	// digits is room for a number on its way out.
	digits    []byte
	idle      *time.Timer
	idleSince time.Time
}

// NewClientConn sends the preface on a connection on which HTTP/2 was agreed, and owns it from then on: Close and
// Shutdown end it, and so does the upstream.
func NewClientConn(conn net.Conn, opts ClientOptions) (*ClientConn, error) {
	if opts.MaxHeaderBytes == 0 {
		opts.MaxHeaderBytes = 60 << 10
	}
	if opts.StreamWindow == 0 {
		opts.StreamWindow = 256 << 10
	}
	opts.StreamWindow = min(max(opts.StreamWindow, initialWindow), maxWindow)
	c := &ClientConn{
		conn:         conn,
		opts:         opts,
		done:         make(chan struct{}),
		in:           bufio.NewReaderSize(conn, 32<<10),
		streams:      map[uint32]*ClientStream{},
		nextID:       1,
		maxStreams:   assumedStreams,
		window:       initialWindow,
		streamWindow: initialWindow,
		patience:     newPatience(),
		received:     newReceiveWindow(connWindow),
	}
	c.framer = xhttp2.NewFramer(nil, c.in)
	c.framer.SetMaxReadFrameSize(defaultFrame)
	c.framer.SetReuseFrames()
	c.fields = newFieldReader(int(opts.MaxHeaderBytes), 0)
	c.out.init(conn, opts.WriteTimeout)
	if err := c.greet(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("http2: preface: %w", err)
	}
	if opts.IdleTimeout > 0 {
		c.lock()
		c.idleSince = time.Now()
		c.idle = time.AfterFunc(opts.IdleTimeout, c.lookIdle)
		c.unlock()
	}
	go c.read()
	return c, nil
}

// greet sends the preface, and what we allow the upstream (RFC 9113, 3.4).
func (c *ClientConn) greet() error {
	c.lock()
	c.out.buf = gathered.Get().(*[]byte)
	*c.out.buf = append(*c.out.buf, Preface...)
	c.out.settings(
		xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 0},
		xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: c.opts.StreamWindow},
		xhttp2.Setting{ID: xhttp2.SettingMaxHeaderListSize, Val: c.opts.MaxHeaderBytes},
	)
	c.out.windowUpdate(0, connWindow-initialWindow)
	c.unlock()
	return c.out.flush()
}

func (c *ClientConn) lock() { c.out.mu.Lock() }

// unlock gives the lock back, and does what must not be done under it.
func (c *ClientConn) unlock() {
	if c.draining && len(c.streams) == 0 && c.reserved == 0 && c.over == nil {
		c.end(failure.New(failure.Reset, errDrained))
	}
	room, kick, shut := c.news && c.opts.Room != nil, c.kick, c.over != nil && !c.shut
	c.news, c.kick, c.shut = false, false, c.shut || shut
	c.out.mu.Unlock()
	switch {
	case shut:
		c.close(room)
		return
	case kick:
		c.out.kick()
	}
	if room {
		c.opts.Room()
	}
}

// close sends what is gathered, which may be a GOAWAY, and closes the socket.
func (c *ClientConn) close(room bool) {
	end := func() {
		c.conn.Close()
		c.out.close()
		if room {
			c.opts.Room()
		}
	}
	c.out.mu.Lock()
	words := c.out.buf != nil && c.out.err == nil
	c.out.mu.Unlock()
	if !words {
		end()
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(lingerTime))
	go func() {
		c.lock()
		for c.out.err == nil && (c.out.writing || c.out.buf != nil) {
			c.out.makeRoom()
		}
		c.unlock()
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok && c.over.Kind == failure.BadResponse {
			// With bytes unread a close would be a reset, which overtakes what was said last.
			_ = half.CloseWrite()
			_, _ = io.CopyN(io.Discard, c.conn, lingerBytes)
		}
		end()
	}()
}

var (
	errClosed  = errors.New("exchange closed")
	errNoRoom  = errors.New("the connection takes no more streams")
	errDrained = errors.New("the connection was drained")
	errOver    = errors.New("the connection was closed")
	errIdle    = errors.New("the connection was idle")
)

// room tells whether one stream more may be begun. The lock is held.
func (c *ClientConn) room() bool {
	return c.over == nil && !c.draining && c.out.err == nil && c.nextID+2*uint32(c.reserved) <= maxStreamID &&
		len(c.streams)+c.reserved < int(min(c.maxStreams, maxClientStreams))
}

// CanTakeNewRequest tells whether NewExchange would find room: the connection lives, got no GOAWAY, and the upstream
// allows one stream more. Until its SETTINGS come, 100 are assumed.
func (c *ClientConn) CanTakeNewRequest() bool {
	c.lock()
	defer c.unlock()
	return c.room()
}

// Active is the number of streams under way, and of those that an exchange holds.
func (c *ClientConn) Active() int {
	c.lock()
	defer c.unlock()
	return len(c.streams) + c.reserved
}

// Closed tells whether the connection is over, for new streams and for old.
func (c *ClientConn) Closed() bool {
	c.lock()
	defer c.unlock()
	return c.over != nil
}

// Err is why the connection is over; nil while it lives.
func (c *ClientConn) Err() error {
	c.lock()
	defer c.unlock()
	if c.over == nil {
		return nil
	}
	return &failure.Error{Kind: c.over.Kind, Retryable: true, Unsent: true, Err: c.over.Err}
}

// NewExchange begins an exchange, and holds a stream for it, which Close gives back. Nothing is sent before its
// WriteRequest. It is nil if the connection takes no stream more.
func (c *ClientConn) NewExchange() *ClientStream {
	c.lock()
	defer c.unlock()
	if !c.room() {
		c.full = true
		return nil
	}
	c.reserved++
	s := clientStreams.Get().(*ClientStream)
	s.begin(c)
	return s
}

// freed is called when a stream was given back, or the limits changed, with the lock held.
func (c *ClientConn) freed() {
	if c.full && c.room() {
		c.full, c.news = false, true
	}
	if len(c.streams)+c.reserved-c.lingering == 0 && c.idle != nil {
		c.idleSince = time.Now()
	}
}

// forget takes a stream off the list, with the lock held.
func (c *ClientConn) forget(s *ClientStream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	c.freed()
}

// end fails all streams, and the connection takes no more; unlock closes the socket. The lock is held.
func (c *ClientConn) end(why *failure.Error) {
	if c.over != nil {
		return
	}
	c.over = why
	for _, s := range c.streams {
		if s == &lingering {
			continue
		}
		kind, retryable := why.Kind, why.Kind == failure.Reset && s.reused && !s.answered
		s.fail(&failure.Error{Kind: kind, Retryable: retryable, Err: why.Err})
	}
	clear(c.streams)
	c.lingering = 0
	c.news = true
	c.out.room.Broadcast()
	close(c.done)
	if c.idle != nil {
		c.idle.Stop()
	}
}

// lookIdle runs when the connection may have been idle for long enough.
func (c *ClientConn) lookIdle() {
	c.lock()
	defer c.unlock()
	if c.over != nil {
		return
	}
	wait := c.opts.IdleTimeout
	if len(c.streams)+c.reserved-c.lingering == 0 {
		if wait -= time.Since(c.idleSince); wait <= 0 {
			c.out.goAway(0, xhttp2.ErrCodeNo, "")
			c.end(failure.New(failure.Reset, errIdle))
			return
		}
	}
	c.idle.Reset(wait)
}

// Ping waits for the upstream's answer to a PING; it fails if the connection does.
func (c *ClientConn) Ping(ctx context.Context) error {
	c.lock()
	if c.over != nil {
		defer c.unlock()
		return c.over
	}
	c.pinged++
	var data [8]byte
	for i := range data {
		data[i] = byte(c.pinged >> (8 * i))
	}
	answered := make(chan struct{})
	if c.pings == nil {
		c.pings = map[[8]byte]chan struct{}{}
	}
	c.pings[data] = answered
	c.out.ping(false, data)
	c.kick = true
	c.unlock()
	select {
	case <-answered:
		return nil
	case <-c.done:
	case <-ctx.Done():
	}
	c.lock()
	defer c.unlock()
	delete(c.pings, data)
	if c.over != nil {
		return c.over
	}
	return ctx.Err()
}

// Shutdown sends GOAWAY, waits for the streams under way until ctx ends, and closes.
func (c *ClientConn) Shutdown(ctx context.Context) error {
	c.lock()
	if !c.draining && c.over == nil {
		c.draining = true
		c.out.goAway(0, xhttp2.ErrCodeNo, "")
		c.kick = true
		c.full, c.news = false, c.news || c.full
	}
	c.unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.Close()
		return ctx.Err()
	}
}

// Close closes at once; streams under way fail with failure.Reset.
func (c *ClientConn) Close() error {
	c.lock()
	defer c.unlock()
	c.end(failure.New(failure.Reset, errOver))
	return nil
}
