// Package loop is an event loop over epoll that costs little: what generates load and what answers it must not be what
// is measured.
//
// In: connected sockets and a Handler for each. Out: calls of the handler when there is something to read. One goroutine
// runs everything, so handlers need no lock. It must not know what the bytes mean.
package loop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Again is what a Read returns when there is nothing to read now. It is a temporary net.Error, so that crypto/tls can be
// asked again after it.
var Again net.Error = again{}

type again struct{}

func (again) Error() string   { return "loop: nothing to read now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Handler takes what happens on a connection. An error of Readable ends the connection, and goes to Closed.
type Handler interface {
	Readable(c *Conn) error
	Closed(c *Conn, err error)
}

// Loop watches connections.
type Loop struct {
	epoll  int
	conns  map[int32]*Conn
	events []unix.EpollEvent
	// others are descriptors of timers and listeners, with what is called when they are ready.
	others map[int32]func() error
}

// New makes an empty loop.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	return &Loop{
		epoll: fd, conns: map[int32]*Conn{}, events: make([]unix.EpollEvent, 1024), others: map[int32]func() error{},
	}, nil
}

// Close closes the loop and all its connections, without a word to their handlers.
func (l *Loop) Close() {
	for _, c := range l.conns {
		_ = unix.Close(c.fd)
	}
	for fd := range l.others {
		_ = unix.Close(int(fd))
	}
	_ = unix.Close(l.epoll)
}

// Len is how many connections it has.
func (l *Loop) Len() int { return len(l.conns) }

// Add takes over a socket.
func (l *Loop) Add(fd int, h Handler) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	c := &Conn{fd: fd, loop: l, handler: h, interest: unix.EPOLLIN}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: c.interest, Fd: int32(fd)}); err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	l.conns[int32(fd)] = c
	return c, nil
}

// Dial connects to an address on loopback (it blocks until it is connected) and adds the connection.
func (l *Loop) Dial(addr string, h Handler) (*Conn, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	sa := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Connect(fd, sa)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	var c *Conn
	if err == nil {
		c, err = l.Add(fd, h)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("loop: %s: %w", addr, err)
	}
	return c, nil
}

// Tick calls a function with the number of intervals that have passed since it was last called. stop ends it.
func (l *Loop) Tick(interval time.Duration, f func(expired uint64) error) (stop func(), err error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	spec := unix.NsecToTimespec(int64(interval))
	err = unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: spec, Value: spec}, nil)
	if err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("loop: timer: %w", err)
	}
	l.others[int32(fd)] = func() error { return tick(fd, f) }
	return func() {
		delete(l.others, int32(fd))
		_ = unix.Close(fd)
	}, nil
}

// Listen accepts connections on an address of IPv4, each with a handler of its own.
func (l *Loop) Listen(addr string, handler func() Handler) error {
	listener, err := net.Listen("tcp4", addr)
	if err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	file, err := listener.(*net.TCPListener).File() // a copy, which is the loop's
	_ = listener.Close()
	if err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = file.Close()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err != nil {
		return fmt.Errorf("loop: %s: %w", addr, err)
	}
	l.others[int32(fd)] = func() error { return l.accept(fd, handler) }
	return nil
}

func (l *Loop) accept(fd int, handler func() Handler) error {
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("loop: accept: %w", err)
		}
		err = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err == nil {
			_, err = l.Add(conn, handler())
		}
		if err != nil {
			_ = unix.Close(conn)
		}
	}
}

// Run serves events until done says so, which it is asked after each batch. It waits at most 10 ms for a batch.
func (l *Loop) Run(done func() bool) error {
	for !done() {
		n, err := unix.EpollWait(l.epoll, l.events, 10)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("loop: %w", err)
		}
		for _, e := range l.events[:max(n, 0)] {
			if f := l.others[e.Fd]; f != nil {
				if err := f(); err != nil {
					return err
				}
				continue
			}
			if c := l.conns[e.Fd]; c != nil {
				c.event(e.Events)
			}
		}
	}
	return nil
}

func tick(fd int, f func(uint64) error) error {
	var b [8]byte
	if n, err := unix.Read(fd, b[:]); err != nil || n != 8 {
		if err == unix.EAGAIN {
			return nil
		}
		return fmt.Errorf("loop: timer: %w", err)
	}
	var count uint64
	for i := range b { // the kernel writes it in the machine's order, which is little-endian where this runs
		count |= uint64(b[i]) << (8 * i)
	}
	return f(count)
}

// Conn is a connection of a loop.
type Conn struct {
	fd       int
	loop     *Loop
	handler  Handler
	interest uint32
	paused   bool
	closed   bool
	// pending are what could not be written yet, in order: slices of the writer's.
	pending [][]byte
}

func (c *Conn) event(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		if err := c.flush(); err != nil {
			c.fail(err)
			return
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && !c.paused {
		if err := c.handler.Readable(c); err != nil {
			c.fail(err)
		}
	}
}

// Close closes it at once; its handler hears nothing of it.
func (c *Conn) Close() {
	if !c.closed {
		c.closed = true
		delete(c.loop.conns, int32(c.fd))
		_ = unix.Close(c.fd)
	}
}

func (c *Conn) fail(err error) {
	if !c.closed {
		c.Close()
		c.handler.Closed(c, err)
	}
}

// Read reads what is there. It returns Again if there is nothing, and io.EOF at the end.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, Again
		case err != nil:
			return 0, fmt.Errorf("loop: read: %w", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes now what can be written, and the rest when it can: p must not change until then (see Pending).
func (c *Conn) Write(p []byte) (int, error) {
	sent := 0
	if len(c.pending) == 0 {
		var err error
		if sent, err = c.Send(p); err != nil {
			return 0, err
		}
	}
	if sent < len(p) {
		c.pending = append(c.pending, p[sent:])
		if err := c.watch(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Pending tells whether something waits to be written.
func (c *Conn) Pending() bool { return len(c.pending) > 0 }

// PauseUntilWritten stops the calls of Readable while something is pending.
func (c *Conn) PauseUntilWritten() error {
	if len(c.pending) > 0 {
		c.paused = true
	}
	return c.watch()
}

func (c *Conn) flush() error {
	for len(c.pending) > 0 {
		n, err := c.Send(c.pending[0])
		if err != nil {
			return err
		}
		if n < len(c.pending[0]) {
			c.pending[0] = c.pending[0][n:]
			break
		}
		c.pending = c.pending[1:]
	}
	if len(c.pending) == 0 {
		c.paused = false
	}
	return c.watch()
}

// Send is one write; less than all is no error.
func (c *Conn) Send(p []byte) (int, error) {
	for {
		n, err := unix.Write(c.fd, p)
		switch {
		case err == unix.EINTR:
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, fmt.Errorf("loop: write: %w", err)
		default:
			return n, nil
		}
	}
}

func (c *Conn) watch() error {
	var want uint32
	if !c.paused {
		want |= unix.EPOLLIN
	}
	if len(c.pending) > 0 {
		want |= unix.EPOLLOUT
	}
	if want == c.interest {
		return nil
	}
	c.interest = want
	if err := unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: want, Fd: int32(c.fd)}); err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	return nil
}
