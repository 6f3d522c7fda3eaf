package http1

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// maxInformational is how many 1xx answers may come before the final one.
const maxInformational = 16

// ClientConn is a connection to an upstream, and the exchange that is under way on it: one at a time, begun by Begin and
// ended by Finish. Within it, one goroutine may write (WriteRequest, Write, Flush, End) while another reads
// (ReadResponse, Read). Break may be called by any.
type ClientConn struct {
	conn net.Conn
	// socket is conn's, or nil.
	socket *socket.Conn
	// ahead is conn, if bytes may have come that are not on the socket any more, as in TLS; else nil.
	ahead  interface{ Buffered() int }
	limits Limits

	// Only who writes. written: the whole request was.
	out     writer
	written bool

	// Only who reads. answered: a byte of the answer came; final: its head did.
	in              reader
	parser          ResponseParser
	body            Body
	answered, final bool
	informational   int
	// got counts the body's bytes.
	got int64
	// switched: the answer was a 101.
	switched bool

	method string
	// upgrade: the request asked for a 101.
	upgrade bool
	// served is how many exchanges came before.
	served int
	broken atomic.Bool
}

// NewClientConn takes a connection over.
func NewClientConn(conn net.Conn, limits Limits) *ClientConn {
	conn = socket.Wrap(conn)
	c := &ClientConn{conn: conn, socket: socket.Of(conn), limits: limits}
	c.ahead, _ = conn.(interface{ Buffered() int })
	c.in.conn = conn
	c.out.init(conn)
	c.parser.init(limits)
	return c
}

// Idle tells whether the connection may serve an exchange: it is open, and the upstream has sent nothing that was not
// asked for. What it sent would be taken for the answer to the next request.
func (c *ClientConn) Idle() bool {
	if c.ahead != nil && c.ahead.Buffered() > 0 {
		return false
	}
	return !c.broken.Load() && c.in.buffered() == 0 && c.socket != nil && c.socket.Peek() < 0
}

// Begin begins an exchange.
func (c *ClientConn) Begin() {
	c.written, c.answered, c.final = false, false, false
	c.informational = 0
	c.got = 0
	c.switched = false
}

// WriteRequest serializes the head, in origin-form; end says that no body follows, and sends it. A head that HTTP/1.1
// cannot carry is refused with failure.BadRequest, before anything is sent.
func (c *ClientConn) WriteRequest(head *message.Request, end bool) error {
	c.method, c.upgrade = head.Method, head.Upgrade != ""
	c.parser.Reset(c.method)
	if err := c.out.requestHead(head, end); err != nil {
		c.out.buf = c.out.buf[:0]
		return failure.New(failure.BadRequest, err)
	}
	if !end {
		return nil
	}
	c.written = true
	return c.sent(c.out.flush())
}

// Write sends a part of the body; it may wait for the upstream.
func (c *ClientConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.sent(err)
}

// Flush sends what is buffered.
func (c *ClientConn) Flush() error { return c.sent(c.out.flush()) }

// End ends the body, and flushes; trailer may be nil, and is sent only with a chunked body.
func (c *ClientConn) End(trailer message.Header) error {
	if c.written {
		return nil
	}
	if err := c.out.end(trailer); err != nil {
		return c.sent(err)
	}
	c.written = true
	return nil
}

func (c *ClientConn) sent(err error) error {
	if err == nil {
		return nil
	}
	if err == errLength || err == errInvalidField {
		return failure.New(failure.BadRequest, err)
	}
	// What the upstream has not read it has not acted on, but who knows how much it has read. Only on a connection that
	// was kept open is it likely that it was closed before.
	return &failure.Error{Kind: failure.Reset, Retryable: c.served > 0, Err: err}
}

// ReadResponse reads a head: those of status 1xx come one by one before the final one. The head and its strings are
// valid until the next call, or Finish.
func (c *ClientConn) ReadResponse() (*message.Response, error) {
	if c.answered && !c.final {
		c.parser.Reset(c.method)
		c.in.release()
	}
	for {
		if c.in.buffered() > 0 {
			n, why := c.parser.Parse(c.in.bytes())
			if why != nil {
				return nil, why
			}
			if n > 0 {
				c.in.hold(n)
				return c.head()
			}
		}
		if !c.answered {
			// Others go first: with many connections at work the answer is often there when it is our turn again, and then
			// neither a read in vain nor a wait is paid for. It saves 8 % of a small request's CPU at 64 connections.
			runtime.Gosched()
		}
		if err := c.fill(); err != nil {
			return nil, c.lost(err)
		}
		c.answered = true
	}
}

func (c *ClientConn) head() (*message.Response, error) {
	res := &c.parser.Response
	if res.Status >= 200 {
		c.final = true
		c.body.Reset(c.parser.Framing, res.ContentLength, c.limits)
		return res, nil
	}
	if res.Status == 101 && c.upgrade {
		c.final, c.switched = true, true
		c.body.Reset(FramedEmpty, 0, c.limits)
		return res, nil
	}
	if res.Status == 101 {
		// RFC 9110, 7.8: only to who asked.
		return nil, failure.Newf(failure.BadResponse, "status 101 without an upgrade (RFC 9110, 7.8)")
	}
	if c.informational++; c.informational > maxInformational {
		return nil, failure.Newf(failure.BadResponse, "more than %d informational answers", maxInformational)
	}
	return res, nil
}

func (c *ClientConn) fill() error {
	for {
		n, err := c.conn.Read(c.in.space(512))
		c.in.w += n
		if n > 0 || err != nil {
			if n > 0 {
				err = nil
			}
			return err
		}
	}
}

// lost is a connection that ended before the answer did.
func (c *ClientConn) lost(err error) error {
	c.broken.Store(true)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &failure.Error{Kind: failure.Reset, Retryable: c.served > 0 && !c.answered, Err: err}
}

// Buffered is how many bytes of the answer can be read without waiting.
func (c *ClientConn) Buffered() int { return c.in.buffered() }

// Read reads the answer's body, decoded. At io.EOF, which may come with the last bytes, the head's Trailer is filled.
func (c *ClientConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	c.got += int64(n)
	return n, err
}

func (c *ClientConn) read(p []byte) (int, error) {
	for {
		if c.body.Done() {
			return 0, c.whole()
		}
		if len(p) == 0 {
			return 0, nil
		}
		if c.in.buffered() > 0 {
			n, err := c.take(p)
			if n > 0 || err != nil {
				return n, err
			}
			continue
		}
		direct := c.body.Direct()
		if direct == 0 || direct > 0 && direct < smallBuffer && int64(len(p)) > direct {
			if err := c.fill(); err != nil {
				return 0, c.cut(err)
			}
			continue
		}
		if direct > 0 && int64(len(p)) > direct {
			p = p[:direct]
		}
		n, err := c.conn.Read(p)
		c.body.Took(int64(n))
		switch {
		case n > 0 && c.body.Done():
			return n, c.whole()
		case n > 0:
			return n, nil
		case err != nil:
			return 0, c.cut(err)
		}
	}
}

// Next is the part of the answer's body that has come with what was read before, decoded, where it lies: it is valid until
// the next call. It may be empty. Errors are those of Read.
func (c *ClientConn) Next() ([]byte, error) {
	if c.body.Done() {
		return nil, c.whole()
	}
	data, n, v := c.body.Parse(c.in.bytes())
	if v != nil {
		return nil, c.bad(v)
	}
	c.in.r += n
	c.in.r += c.body.Skip(c.in.bytes())
	c.got += int64(len(data))
	if c.body.Done() {
		return data, c.whole()
	}
	return data, nil
}

func (c *ClientConn) bad(v *violation) error {
	c.broken.Store(true)
	return failure.Newf(failure.BadResponse, "%s", v.text)
}

// take takes bytes of the body from the buffer.
func (c *ClientConn) take(p []byte) (int, error) {
	src := c.in.bytes()
	if len(src) > len(p) && c.body.Direct() != 0 {
		src = src[:len(p)]
	}
	data, n, v := c.body.Parse(src)
	if v != nil {
		return 0, c.bad(v)
	}
	if len(data) > len(p) {
		extra := len(data) - len(p)
		c.body.untake(int64(extra))
		data, n = data[:len(p)], n-extra
	}
	c.in.r += n
	got := copy(p, data)
	c.in.r += c.body.Skip(c.in.bytes())
	if c.body.Done() {
		return got, c.whole()
	}
	return got, nil
}

func (c *ClientConn) whole() error {
	c.parser.Response.Trailer = c.body.Trailer
	return io.EOF
}

// cut is a connection that ended within the body: which is the end only if nothing else frames it.
func (c *ClientConn) cut(err error) error {
	if err == io.EOF && c.body.state == bodyUntilClose {
		c.body.state = bodyDone
		return io.EOF
	}
	c.broken.Store(true)
	if err == io.EOF {
		return failure.New(failure.BadResponse, io.ErrUnexpectedEOF)
	}
	return failure.New(failure.Reset, err)
}

// Finish ends the exchange, and gives its buffers back; no other goroutine may be in a method but Break. It tells
// whether the connection may serve another: the request was written and the answer read to their ends, both sides want
// to go on, and nothing came that was not asked for.
func (c *ClientConn) Finish() (reusable bool) {
	reusable = c.written && c.final && !c.switched && c.body.Done() && c.parser.Persists && c.in.buffered() == 0 &&
		c.out.err == nil && !c.broken.Load()
	c.served++
	c.in.large = c.got > smallBuffer
	c.in.release()
	if !reusable {
		c.in.close()
		c.out.err = errors.Join(c.out.err, net.ErrClosed)
	}
	c.out.release()
	return reusable
}

// Break closes the connection, and so wakes who waits in a method. Any goroutine may call it.
func (c *ClientConn) Break() {
	c.broken.Store(true)
	c.conn.Close()
}
