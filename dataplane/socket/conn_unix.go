//go:build unix

package socket

import (
	"io"
	"net"
	"syscall"
)

// Conn is a connection of the system's. One goroutine may read while another writes, and any one at a time may Peek or ask HungUp.
type Conn struct {
	Stream
	raw syscall.RawConn

	// Each kind of call has a place for its arguments and results, and a function that is made once: made for each call,
	// it would be an allocation.
	in, out transfer
	// filler, if set, says where a read goes to.
	filler Filler
	look   func(fd uintptr)
	seen   int
	byte   [1]byte
	// vectors is the array of Writev's buffers, and pending its use.
	vectors [3][]byte
	pending net.Buffers
}

// transfer is bytes on their way. now is what RawConn calls; it tells whether it is done: else the runtime waits until
// the socket is ready, and calls it again.
type transfer struct {
	now func(fd uintptr) (done bool)
	p   []byte
	n   int
	err error
}

// Filler is a buffer that is there only when bytes are.
type Filler interface {
	// Space is where bytes may be read to: at least one.
	Space() []byte
	// Filled tells how many came: 0 if there were none, and the space may be given back.
	Filled(n int)
}

// New makes a Conn of a connection, which must not be read or written by itself any more; nil if it is closed.
func New(stream Stream) *Conn {
	raw, err := stream.SyscallConn()
	if err != nil {
		return nil
	}
	c := &Conn{Stream: stream, raw: raw}
	c.in.now, c.out.now, c.look = c.readNow, c.writeNow, c.peekNow
	return c
}

// Read reads what is there, and waits if nothing is.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in.p = p
	return c.read()
}

// Fill is a Read that waits without a buffer: who has thousands of idle connections has none for them. It costs the
// system calls of a Read.
func (c *Conn) Fill(f Filler) error {
	c.filler = f
	_, err := c.read()
	c.filler = nil
	return err
}

func (c *Conn) read() (int, error) {
	t := &c.in
	t.n, t.err = 0, nil
	err := c.raw.Read(t.now)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (c *Conn) readNow(fd uintptr) bool {
	t := &c.in
	if c.filler != nil {
		t.p = c.filler.Space()
	}
	n, errno := sysRead(fd, t.p)
	done := true
	switch {
	case errno == syscall.EAGAIN:
		done = false
	case errno != 0:
		t.err = c.failed("read", errno)
	case n == 0:
		t.err = io.EOF
	default:
		t.n = n
	}
	if c.filler != nil {
		t.p = nil
		c.filler.Filled(t.n)
	}
	return done
}

// Write writes all of p, and waits where it must.
func (c *Conn) Write(p []byte) (int, error) {
	t := &c.out
	t.p, t.n, t.err = p, 0, nil
	err := c.raw.Write(t.now)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (c *Conn) writeNow(fd uintptr) bool {
	t := &c.out
	for t.n < len(t.p) {
		n, errno := sysWrite(fd, t.p[t.n:])
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			t.err = c.failed("write", errno)
			return true
		}
		t.n += n
	}
	return true
}

func (c *Conn) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: errno}
}

// Writev writes up to three buffers, by one system call if the socket takes them all.
func (c *Conn) Writev(buffers ...[]byte) error {
	c.pending = c.vectors[:copy(c.vectors[:], buffers)]
	_, err := c.pending.WriteTo(c.Stream)
	clear(c.vectors[:])
	return err
}

// Peek is -1 if nothing has come, 1 if something has, 0 at the end and on an error. It does not wait, and takes nothing.
func (c *Conn) Peek() int {
	if c.raw.Control(c.look) != nil {
		return 0
	}
	return c.seen
}

func (c *Conn) peekNow(fd uintptr) {
	n, errno := sysPeek(fd, c.byte[:])
	switch errno {
	case 0:
		c.seen = n
	case syscall.EAGAIN:
		c.seen = -1
	default:
		c.seen = 0
	}
}

// HungUp tells whether the other side has ended its half, as far as the system tells, whatever has not been read yet.
func (c *Conn) HungUp() bool {
	up := false
	err := c.raw.Control(func(fd uintptr) { up = sysHungUp(fd) })
	return err != nil || up
}

// Readable waits until a connection has bytes or its end to read, or its read deadline has passed. Of what is not a socket
// it says so at once: who reads waits. It needs little of a stack, and no Conn.
func Readable(conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(hasBytes)
}

func hasBytes(fd uintptr) bool {
	var b [1]byte
	_, errno := sysPeek(fd, b[:])
	return errno != syscall.EAGAIN
}
