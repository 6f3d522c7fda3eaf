package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/alarm"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// ServerOptions are one downstream connection's.
type ServerOptions struct {
	// MaxHeaderBytes limits a request's line and header section: 431; 0 is 60 KiB.
	MaxHeaderBytes int
	// MaxHeaderCount limits the number of header lines: 431; 0 is 100.
	MaxHeaderCount int
	// IdleTimeout closes a connection without a request; 0 is never.
	IdleTimeout time.Duration
	// RequestHeadersTimeout is from a request's first byte to the end of its head: 408; 0 is never.
	RequestHeadersTimeout time.Duration
	// RequestTimeout is from the end of a request's head to its last byte: 408, by failing Read; 0 is never.
	RequestTimeout time.Duration
	// MaxConnectionDuration ends a connection of that age after the request in flight; 0 is never.
	MaxConnectionDuration time.Duration
	// Opened is when the connection was; zero is now.
	Opened time.Time
	// Pending: bytes have come, so that a request is read even if the connection drains.
	Pending bool
	// ParkAfter, if shorter than IdleTimeout, lets ServeConn return true for a connection that has waited so long for a
	// request; 0 is never.
	ParkAfter time.Duration
	// AcceptHTTP10 serves HTTP/1.0; else its requests get 426.
	AcceptHTTP10 bool
	// RejectUnderscores answers 400 to a header name with an underscore.
	RejectUnderscores bool
	// Secure requests have the scheme https.
	Secure bool
	// Draining, once true, ends each connection with its next answer. A connection that waits for a request sees it when
	// its read deadline passes: conn.SetReadDeadline(time.Unix(1, 0)) wakes it, and is harmless at any other moment. It
	// may be nil.
	Draining *atomic.Bool
	// Prefix are bytes that were read from the connection before.
	Prefix []byte
	// Refused hears of a request that is answered here, since it breaks the protocol or came too slowly; req is what was
	// understood of it, and valid during the call. It may be nil.
	Refused func(req *message.Request, why *failure.Error)
	// Switched hears of a connection that is to speak another protocol: from then on a read deadline that others set would
	// end it. It may be nil.
	Switched func()
	// Panicked hears of a panic in handle; the connection is closed. It may be nil.
	Panicked func(value any, stack []byte)
}

const (
	// lingerTime is how long a connection that we end is read from, so that the client gets our last bytes and not a
	// reset (RFC 9112, 9.6). It is Envoy's delayed_close_timeout.
	lingerTime = time.Second
	// lingerBytes is how much is read then.
	lingerBytes = 1 << 20
	// refusalTime is how long a client may take to accept a refusal.
	refusalTime = 5 * time.Second
	// drainWait is the least that a connection waits for one more request if it was not told that it is to end.
	drainWait = 250 * time.Millisecond
)

// past is a deadline that wakes who waits.
var past = time.Unix(1, 0)

// serverConn is one downstream connection. Its goroutine owns it; what others touch says so.
type serverConn struct {
	conn   net.Conn
	opts   *ServerOptions
	in     reader
	out    writer
	parser RequestParser
	stream ServerStream
	opened time.Time
	// idle is since when a connection that drains waits; zero if it began to drain after that.
	idle time.Time
	// answered: a request was served.
	answered bool
	// plain is conn if it is a socket, which can be waited for without a buffer; nil if not, as under TLS.
	plain *socket.Conn
	// parked: the connection has waited for ParkAfter.
	parked bool

	// alarm wakes a Read that takes too long; any goroutine.
	alarm *alarm.Alarm
	// wake is a deadline for Read that another goroutine has set, in Unix nanoseconds; 0 is none. Any goroutine.
	wake atomic.Int64
}

// ServeConn serves a connection in the caller's goroutine until it ends, and closes it. handle is called once for each
// request, and has given the stream up when it returns: no goroutine of its own may use it then.
//
// If it returns true the connection is parked: it is open, nothing has been read from it that was not served, and its read
// deadline has passed. Who waits for its next bytes, with less than was held here, calls ServeConn for it again.
func ServeConn(conn net.Conn, opts ServerOptions, handle func(s *ServerStream)) (parked bool) {
	conn = socket.Wrap(conn)
	c := &serverConn{conn: conn, opts: &opts, opened: opts.Opened}
	if c.opened.IsZero() {
		c.opened = time.Now()
	}
	c.in.conn = conn
	c.out.init(conn)
	c.plain, _ = conn.(*socket.Conn)
	c.stream.c = c
	c.stream.limits = Limits{HeaderBytes: opts.MaxHeaderBytes, HeaderCount: opts.MaxHeaderCount}
	c.parser.init(c.stream.limits, opts.Secure, opts.AcceptHTTP10, opts.RejectUnderscores)
	c.alarm = alarm.New(func() (next time.Time) {
		_ = conn.SetReadDeadline(past)
		return next
	})
	if len(opts.Prefix) > 0 {
		c.in.w = copy(c.in.space(len(opts.Prefix)), opts.Prefix)
		opts.Prefix = nil
	}
	for c.readRequest() && c.serve(handle) {
	}
	c.alarm.Stop()
	c.in.close()
	if c.parked {
		c.out.release()
		return true
	}
	c.out.err = errors.Join(c.out.err, net.ErrClosed)
	c.out.release()
	conn.Close()
	return false
}

// readRequest waits for a request's head; false ends the connection.
func (c *serverConn) readRequest() bool {
	c.parser.Reset()
	c.idle = time.Time{}
	if c.in.buffered() == 0 {
		if c.draining() {
			if !c.opts.Pending && !c.answered {
				return false
			}
			// The last answer did not say so: it began meanwhile. The next request may be under way, and is served.
			c.idle = time.Now()
		}
		wait, parks := c.opts.IdleTimeout, false
		if c.opts.ParkAfter > 0 && (wait <= 0 || c.opts.ParkAfter < wait) {
			wait, parks = c.opts.ParkAfter, true
		}
		if wait > 0 {
			c.alarm.Set(time.Now().Add(wait))
		} else {
			c.alarm.Clear()
		}
		if err := c.firstBytes(); err != nil {
			c.parked = parks && errors.Is(err, os.ErrDeadlineExceeded) && !c.draining()
			return false
		}
	}
	c.opts.Pending = false
	for waiting := false; ; waiting = true {
		n, why := c.parser.Parse(c.in.bytes())
		if why != nil {
			c.refuse(why, why.Status(), reasonText(why))
			return false
		}
		if n > 0 {
			c.in.hold(n)
			return true
		}
		// The first read brings the whole head as a rule; only if it does not the clock is started.
		if !waiting {
			if c.opts.RequestHeadersTimeout > 0 {
				c.alarm.Set(time.Now().Add(c.opts.RequestHeadersTimeout))
			} else {
				c.alarm.Clear()
			}
		}
		switch err := c.fill(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.refuse(failure.New(failure.RequestTimeout, err), 408, "request header timeout")
			return false
		default:
			return false
		}
	}
}

// reasonText is what a refusal says, as Envoy does.
func reasonText(why *failure.Error) string { return Reason(why.Status()) }

// fill reads more. It returns os.ErrDeadlineExceeded only if a deadline of ours has come, and io.EOF when a connection
// that drains has nothing to do.
func (c *serverConn) fill() error {
	n, err := c.read(c.in.space(512))
	c.in.w += n
	return err
}

// firstBytes waits for a request, without a buffer if that can be done.
func (c *serverConn) firstBytes() error {
	// As in ClientConn.ReadResponse: the next request is often there by then.
	runtime.Gosched()
	if c.plain == nil {
		return c.fill()
	}
	for {
		err := c.plain.Fill(&c.in)
		if err == nil {
			return nil
		}
		if err = c.woken(err); err != nil {
			return err
		}
	}
}

// read reads from the connection until there are bytes or an error.
func (c *serverConn) read(p []byte) (int, error) {
	for {
		n, err := c.conn.Read(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err = c.woken(err); err != nil {
			return 0, err
		}
	}
}

// woken tells whether a failed read is to be given up, or tried again since someone woke us for a reason that has
// gone, or only to see that the listener drains.
func (c *serverConn) woken(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.overdue() {
		return err
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	if c.overdue() {
		return os.ErrDeadlineExceeded
	}
	if c.draining() && c.in.buffered() == 0 && !c.stream.busy.Load() && time.Since(c.idle) >= drainWait && !asked(c.conn) {
		return io.EOF
	}
	return nil
}

// overdue tells whether a deadline for reading has come.
func (c *serverConn) overdue() bool {
	if c.alarm.Due() {
		return true
	}
	wake := c.wake.Load()
	return wake != 0 && time.Now().UnixNano() >= wake
}

// draining tells whether the connection is to end after this request.
func (c *serverConn) draining() bool {
	if c.opts.Draining != nil && c.opts.Draining.Load() {
		return true
	}
	return c.opts.MaxConnectionDuration > 0 && time.Since(c.opened) >= c.opts.MaxConnectionDuration
}

// serve hands the request on; false ends the connection.
func (c *serverConn) serve(handle func(s *ServerStream)) (goOn bool) {
	s := &c.stream
	s.begin()
	if s.body.Done() || c.opts.RequestTimeout <= 0 {
		c.alarm.Clear()
	} else {
		c.alarm.Set(time.Now().Add(c.opts.RequestTimeout))
	}
	func() {
		defer func() {
			if value := recover(); value != nil {
				s.broken.Store(true)
				if c.opts.Panicked != nil {
					c.opts.Panicked(value, debug.Stack())
				}
			}
		}()
		handle(s)
	}()
	goOn = s.finish()
	c.answered = true
	s.busy.Store(false)
	c.in.release()
	c.out.release()
	if c.wake.Load() != 0 {
		c.wake.Store(0)
		_ = c.conn.SetReadDeadline(time.Time{})
	}
	return goOn
}

// refuse answers a request that never reaches the handler, and ends the connection.
func (c *serverConn) refuse(why *failure.Error, status int, text string) {
	if c.opts.Refused != nil {
		c.opts.Refused(&c.parser.Request, why)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(refusalTime))
	c.out.begin()
	c.out.str(statusLine(status))
	c.out.length(int64(len(text)))
	c.out.str("content-type: text/plain\r\ndate: ")
	c.out.str(Date())
	c.out.str("\r\nconnection: close\r\n\r\n")
	if c.parser.Request.Method != "HEAD" {
		c.out.str(text)
	}
	if c.out.flush() == nil {
		c.linger()
	}
}

// linger says that no more comes, and reads what the client still sends: closing at once would reset the connection,
// and the reset may overtake our last bytes (RFC 9112, 9.6).
func (c *serverConn) linger() {
	closer, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	c.alarm.Stop()
	_ = c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	c.in.close()
	buf := getBuffer()
	defer putBuffer(buf)
	for total := 0; total < lingerBytes; {
		n, err := c.conn.Read(buf)
		if total += n; err != nil {
			return
		}
	}
}

func statusLine(status int) string {
	if status >= 0 && status < len(statusLines) && statusLines[status] != "" {
		return statusLines[status]
	}
	return "HTTP/1.1 " + string([]byte{'0' + byte(status/100%10), '0' + byte(status/10%10), '0' + byte(status%10)}) + " Unknown\r\n"
}
