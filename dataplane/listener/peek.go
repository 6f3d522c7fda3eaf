package listener

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// Conn is a connection whose first bytes were read ahead: it gives them again.
type Conn struct {
	net.Conn
	ahead []byte
}

// Read gives what was read ahead, then what comes.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// NetConn is the connection below; its bytes are the same, once what was read ahead is taken.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Detach gives what was read ahead and not taken, and the connection below: a pipe writes the first and splices the
// second. The Conn is not read after it.
func (c *Conn) Detach() (ahead []byte, conn net.Conn) {
	ahead, c.ahead = c.ahead, nil
	return ahead, c.Conn
}

// CloseWrite ends our half, if the connection below can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

const firstRead = 4 << 10

// PeekHello reads until it knows the ClientHello, or that there is none. The deadline is for all of it; it is taken away
// at the end. The connection gives the same bytes again.
func PeekHello(conn net.Conn, deadline time.Time) (Hello, *Conn, error) {
	var hello Hello
	peeked, err := peek(conn, deadline, MaxHello, func(b []byte) (done bool, err error) {
		hello, done, err = ParseHello(b)
		return done, err
	})
	return hello, peeked, err
}

// PeekPrefix tells whether a connection begins with prefix; it reads no more than it takes to know. A client that says
// nothing before the deadline is an error, as is one that goes away.
func PeekPrefix(conn net.Conn, deadline time.Time, prefix string) (bool, *Conn, error) {
	is := false
	peeked, err := peek(conn, deadline, firstRead, func(b []byte) (done bool, err error) {
		n := min(len(b), len(prefix))
		if string(b[:n]) != prefix[:n] {
			return true, nil
		}
		is = n == len(prefix)
		return is, nil
	})
	return is, peeked, err
}

// peek reads until judge is done, at most limit bytes and what one read brings more.
func peek(conn net.Conn, deadline time.Time, limit int, judge func([]byte) (bool, error)) (*Conn, error) {
	peeked, ok := conn.(*Conn)
	if !ok {
		peeked = &Conn{Conn: conn}
	}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return peeked, err
	}
	buf := peeked.ahead
	if len(buf) == 0 {
		var err error
		if buf, err = first(peeked.Conn); err != nil {
			return peeked, err
		}
	}
	for {
		if len(buf) > 0 {
			if done, err := judge(buf); done || err != nil {
				peeked.ahead = buf
				if err != nil {
					return peeked, err
				}
				return peeked, conn.SetReadDeadline(time.Time{})
			}
		}
		if len(buf) >= limit {
			return peeked, fmt.Errorf("undecided after %d bytes", len(buf))
		}
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), max(firstRead, min(2*cap(buf), limit)))
			copy(grown, buf)
			buf = grown
		}
		n, err := peeked.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		peeked.ahead = buf
		if n == 0 && err != nil {
			if err == io.EOF && len(buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return peeked, err
		}
	}
}

// firstBuffers hold first bytes from their arrival until they are known by number.
var firstBuffers = sync.Pool{New: func() any { return new([firstRead]byte) }}

// firstBytes is a socket.Filler that keeps a slice of what came, of its size.
type firstBytes struct {
	buf *[firstRead]byte
	got []byte
}

// Space is a pooled buffer.
func (f *firstBytes) Space() []byte {
	f.buf = firstBuffers.Get().(*[firstRead]byte)
	return f.buf[:]
}

// Filled gives it back.
func (f *firstBytes) Filled(n int) {
	f.got = bytes.Clone(f.buf[:n])
	firstBuffers.Put(f.buf)
	f.buf = nil
}

// first waits for what a connection says first, and returns it in a slice of its size: who says nothing has no buffer, so
// that thousands who are silent cost little. It is one plain read, to the system.
func first(conn net.Conn) ([]byte, error) {
	if s, ok := socket.Wrap(conn).(*socket.Conn); ok {
		var f firstBytes
		err := s.Fill(&f)
		return f.got, err
	}
	buf := make([]byte, firstRead)
	n, err := conn.Read(buf)
	if n > 0 {
		err = nil
	}
	return buf[:n], err
}
