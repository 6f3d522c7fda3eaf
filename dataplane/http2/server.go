package http2

import (
	"bufio"
	"crypto/tls"
	"io"
	"math"
	"net"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/alarm"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ServerOptions are one downstream connection's.
type ServerOptions struct {
	// MaxHeaderBytes limits a request's field section, as RFC 9113 counts it (name, value and 32 bytes each): 431; 0 is
	// 60 KiB.
	MaxHeaderBytes int
	// MaxHeaderCount limits the number of its fields: 431; 0 is no limit.
	MaxHeaderCount int
	// MaxConcurrentStreams is announced; a client above it gets its streams refused. Handlers that still run count, even
	// if their streams were reset. 0 is 100.
	MaxConcurrentStreams uint32
	// InitialStreamWindow and InitialConnectionWindow are in bytes: what a client may send before it is read. 0 is 1 MiB.
	// The connection's is never below 65,535 (RFC 9113, 6.9.2).
	InitialStreamWindow, InitialConnectionWindow uint32
	// IdleTimeout ends a connection without streams by GOAWAY; 0 is never.
	IdleTimeout time.Duration
	// WriteTimeout ends a connection whose socket does not take what it is given for so long, and resets a stream whose
	// client opens no window for so long; 0 is never.
	WriteTimeout time.Duration
	// ExtendedConnect offers CONNECT with :protocol (RFC 8441): such a request has Upgrade.
	ExtendedConnect bool
	// Drain, once closed, sends GOAWAY: streams in flight go on, then the connection ends. It may be nil.
	Drain <-chan struct{}
	// Refused hears of a request that is answered here, since it breaks the protocol; req is what was understood of
	// it. It may be nil.
	Refused func(req *message.Request, why *failure.Error)
	// Panicked hears of a panic in handle; the stream is reset, and the connection goes on. It may be nil.
	Panicked func(value any, stack []byte)
}

const (
	defaultStreams = 100
	defaultBuffer  = 1 << 20
	// readBuffer is what a connection reads ahead: most bursts of requests fit, and what does not is read where it
	// belongs.
	readBuffer = 4 << 10
	// prefaceTimeout is for the client's first bytes; nginx and Go wait about as long.
	prefaceTimeout = 10 * time.Second
	// drainGrace is how long a client may still open streams after the first GOAWAY, if it does not answer PING.
	drainGrace = time.Second
	// quietTime is how long workers wait for a next stream when there is none: an idle connection is to cost little.
	quietTime = time.Second
	// lingerTime and lingerBytes are what a client may still send when we close, so that it reads our last words before
	// its kernel hears of a reset.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// drainPing is the PING whose answer tells that the client has seen the first GOAWAY.
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// serverConn is one connection from a client. One goroutine reads its frames and acts on them at once; each stream's
// handler runs in a worker, which writes for itself (frameWriter).
type serverConn struct {
	opts   ServerOptions
	handle func(*ServerStream)
	secure bool

	// Only the goroutine that reads.
	in     *bufio.Reader
	framer *xhttp2.Framer
	fields *fieldReader
	// owes: frames were gathered here that nobody else will flush.
	owes bool
	// greeted: the client's first SETTINGS came.
	greeted bool
	scratch []byte

	// The lock is the writer's.
	frameWriter

	// Guarded by mu, as are all below. streams are those that are not closed.
	streams map[uint32]*ServerStream
	// active counts handlers that run, whole those of them whose streams are closed, since both sides have ended them;
	// idle are workers that wait for one.
	active, whole, limit int
	idle                 []chan *ServerStream
	workers              sync.WaitGroup
	// last is the highest stream that came; gone are some that we reset lately.
	last uint32
	gone recentStreams
	// send and receive are the connection's windows; initialSend is for new streams.
	send        sendWindow
	receive     receiveWindow
	initialSend int64
	// acked: the client has acknowledged our SETTINGS.
	acked    bool
	patience patience
	drain    drainState
	// ended: nothing is served any more.
	ended bool

	// idleAlarm goes off when the connection has been without streams for too long, quietAlarm soon.
	idleAlarm, quietAlarm *alarm.Alarm
}

// drainState is how far a connection has come on its way out.
type drainState uint8

const (
	// drainNone: it serves.
	drainNone drainState = iota
	// drainAnnounced: the client was told that there will be an end, and may have opened streams meanwhile.
	drainAnnounced
	// drainLast: it was told which stream is the last.
	drainLast
	// drainDone: the last stream is done, and the goroutine that reads was woken.
	drainDone
)

// ServeConn serves a connection until it ends, and closes it. The caller's goroutine is its owner; handle runs in one
// goroutine for each stream, and all of them have returned when ServeConn does. A handle that returns without Respond
// has its stream reset. A ServerStream is not to be used after its handle has returned.
func ServeConn(conn net.Conn, opts ServerOptions, handle func(s *ServerStream)) {
	c := &serverConn{
		opts: opts, handle: handle,
		limit:   int(min(orDefault(opts.MaxConcurrentStreams, defaultStreams), 1<<20)),
		streams: map[uint32]*ServerStream{},
		send:    initialWindow, initialSend: initialWindow,
		receive:  newReceiveWindow(max(orDefault(opts.InitialConnectionWindow, defaultBuffer), initialWindow)),
		patience: newPatience(),
		fields:   newFieldReader(opts.MaxHeaderBytes, opts.MaxHeaderCount),
	}
	c.fields.connect = opts.ExtendedConnect
	_, c.secure = conn.(interface{ ConnectionState() tls.ConnectionState })
	c.in = bufio.NewReaderSize(conn, readBuffer)
	c.framer = xhttp2.NewFramer(io.Discard, c.in)
	c.framer.SetMaxReadFrameSize(defaultFrame)
	c.framer.SetReuseFrames()
	c.frameWriter.init(conn, opts.WriteTimeout)
	c.idleAlarm, c.quietAlarm = alarm.New(c.idleNow), alarm.New(c.quietNow)
	c.serve()
}

func orDefault(n, or uint32) uint32 {
	if n == 0 {
		return or
	}
	return n
}

func (c *serverConn) serve() {
	var drainers sync.WaitGroup
	over := make(chan struct{})
	err := c.greet()
	if err == nil {
		if c.opts.Drain != nil {
			drainers.Go(func() { c.waitDrain(over) })
		}
		err = c.read()
	}
	c.leave(err)
	close(over)
	c.workers.Wait()
	drainers.Wait()
	c.idleAlarm.Stop()
	c.quietAlarm.Stop()
	c.frameWriter.close()
}

// greet reads the client's preface, and sends ours.
func (c *serverConn) greet() error {
	if err := c.conn.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		return err
	}
	preface, err := c.in.Peek(len(Preface))
	if err != nil {
		return err
	}
	if string(preface) != Preface {
		return connectionError{xhttp2.ErrCodeProtocol, "no preface"}
	}
	_, _ = c.in.Discard(len(Preface))
	c.mu.Lock()
	first := []xhttp2.Setting{
		{ID: xhttp2.SettingMaxConcurrentStreams, Val: uint32(c.limit)},
		{ID: xhttp2.SettingInitialWindowSize, Val: c.streamWindow()},
		{ID: xhttp2.SettingMaxHeaderListSize, Val: uint32(c.fields.maxBytes)},
	}
	if c.opts.ExtendedConnect {
		first = append(first, xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1}) // RFC 8441, 3
	}
	c.settings(first...)
	if more := uint32(c.receive.size) - initialWindow; more > 0 {
		c.windowUpdate(0, more)
	}
	c.mu.Unlock()
	c.owes = true
	c.armIdle()
	return nil
}

func (c *serverConn) streamWindow() uint32 {
	return min(orDefault(c.opts.InitialStreamWindow, defaultBuffer), maxWindow)
}

// waitDrain waits for the end of service, and announces it in two steps (RFC 9113, 6.8): a client may have sent
// requests before it reads the first GOAWAY, and none of them is lost.
func (c *serverConn) waitDrain(over <-chan struct{}) {
	select {
	case <-c.opts.Drain:
	case <-over:
		return
	}
	c.mu.Lock()
	if c.drain == drainNone && !c.ended {
		c.drain = drainAnnounced
		c.goAway(maxWindow, xhttp2.ErrCodeNo, "")
		c.ping(false, drainPing)
	}
	c.mu.Unlock()
	c.kick()
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
		c.lastCall()
	case <-over:
	}
}

// lastCall is the second step: streams after this one are not served.
func (c *serverConn) lastCall() {
	c.mu.Lock()
	if c.drain == drainAnnounced && !c.ended {
		c.drain = drainLast
		c.goAway(c.last, xhttp2.ErrCodeNo, "")
		c.closeIfDone()
	}
	c.mu.Unlock()
	c.kick()
}

// closeIfDone wakes the goroutine that reads once nothing is left to do; mu is held.
func (c *serverConn) closeIfDone() {
	if c.drain == drainLast && c.active == 0 && !c.ended {
		c.drain = drainDone
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// armIdle starts the time that a connection may be without streams.
func (c *serverConn) armIdle() {
	now := time.Now()
	c.quietAlarm.Set(now.Add(quietTime))
	if c.opts.IdleTimeout > 0 {
		c.idleAlarm.Set(now.Add(c.opts.IdleTimeout))
	}
}

// quietNow is an alarm's: who waits for the next stream of a connection that has none goes home.
func (c *serverConn) quietNow() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == 0 {
		c.dismiss()
	}
	return time.Time{}
}

// idleNow is the alarm's. A stream that has begun since will arm it again at its end.
func (c *serverConn) idleNow() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == 0 && !c.ended && c.drain < drainLast {
		c.drain = drainLast
		c.goAway(c.last, xhttp2.ErrCodeNo, "")
		c.closeIfDone()
	}
	return time.Time{}
}

// leave ends the connection, for a reason: what is under way is broken off, GOAWAY is sent if the client is to hear
// why, and what the client still sends is read for a while.
func (c *serverConn) leave(err error) {
	// Whoever is writing gives up soon, too.
	_ = c.conn.SetDeadline(time.Now().Add(lingerTime))
	c.mu.Lock()
	c.ended = true
	for _, s := range c.streams {
		c.drop(s, errConnClosed)
	}
	c.dismiss()
	why, told := err.(connectionError)
	if told {
		c.goAway(c.last, why.code, why.text)
	}
	told = told || c.drain == drainDone
	if told {
		for c.writing && c.err == nil {
			c.room.Wait()
		}
		c.write(math.MaxInt)
		told = c.err == nil
	}
	c.mu.Unlock()
	if told {
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.CopyN(io.Discard, c.conn, lingerBytes)
	}
	c.conn.Close()
}
