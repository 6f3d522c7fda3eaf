package live

import (
	"errors"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parkAfter is how long an HTTP/1 connection waits for its next request in the goroutine that served the last. Sooner
// would cost busy connections, later memory.
const parkAfter = 2 * time.Second

// waiting is where connections are that have nothing to do for long. They have no goroutine there, so no stack: a place in
// an epoll set is all that they take. One goroutine watches over all of them.
type waiting struct {
	mu sync.Mutex
	// Guarded by mu. epoll is nil until the first comes, and after close.
	epoll  *os.File
	fd     int
	conns  map[int]*conn
	closed bool
	ended  chan struct{}
	// arrived counts those that came since memory was last given back, at given.
	arrived int
	given   time.Time
}

// tick is how often idle timeouts are looked at.
const tick = time.Second

var errClosed = errors.New("live: nobody waits any more")

// add lets a connection wait until it has something to read, or, if until is not zero, until then; then it is resumed. The
// caller must not touch it any more. On an error it does not wait.
func (w *waiting) add(c *conn, until time.Time) error {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		c.fd, c.until = int(fd), until
		failed = unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(c.fd),
		})
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	w.conns[c.fd] = c
	w.arrived++
	return nil
}

// open starts the watch. mu is held.
func (w *waiting) open() error {
	if w.closed {
		return errClosed
	}
	if w.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go's own poller takes it
		unix.Close(fd)
		return err
	}
	w.epoll, w.fd = os.NewFile(uintptr(fd), "waiting connections"), fd
	w.conns = map[int]*conn{}
	w.ended = make(chan struct{})
	go w.watch(w.epoll)
	return nil
}

// take ends a connection's wait; false if it does not wait. The caller resumes it.
func (w *waiting) take(c *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns[c.fd] != c {
		return false
	}
	w.forget(c)
	return true
}

// forget takes a connection out. mu is held.
func (w *waiting) forget(c *conn) {
	delete(w.conns, c.fd)
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, c.fd, nil) // it is in, and open
}

// watch resumes those that have something to read, or have waited for too long.
func (w *waiting) watch(epoll *os.File) {
	defer close(w.ended)
	raw, err := epoll.SyscallConn()
	if err != nil {
		return // it is closed
	}
	var events [128]unix.EpollEvent
	next := time.Now().Add(tick)
	for {
		n := 0
		_ = epoll.SetReadDeadline(next)
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		w.resume(events[:max(n, 0)])
		if now := time.Now(); !now.Before(next) {
			w.expire(now)
			next = now.Add(tick)
		}
	}
}

func (w *waiting) resume(events []unix.EpollEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range events {
		if c := w.conns[int(events[i].Fd)]; c != nil {
			w.forget(c)
			c.resume()
		}
	}
}

func (w *waiting) expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		if !c.until.IsZero() && !now.Before(c.until) {
			w.forget(c)
			if !c.asked() {
				c.step = nil
			}
			c.resume()
		}
	}
	if w.arrived >= max(manyArrivals, len(w.conns)/4) && now.Sub(w.given) >= giveBackEvery {
		w.arrived, w.given = 0, now
		go debug.FreeOSMemory()
	}
}

// When many have come to wait, what they had before (stacks, buffers) is garbage, which an idle process would collect only
// after minutes.
const (
	manyArrivals  = 1000
	giveBackEvery = 10 * time.Second
)

// close ends the watch, when nobody waits.
func (w *waiting) close() {
	w.mu.Lock()
	w.closed = true
	epoll := w.epoll
	w.epoll = nil
	w.mu.Unlock()
	if epoll != nil {
		epoll.Close()
		<-w.ended
	}
}
