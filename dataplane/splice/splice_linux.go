package splice

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Way is one direction between two sockets. One goroutine may use it at a time.
type Way struct {
	from, to syscall.RawConn
	pipe     *pipe
	// take and give are made once, since their functions would be on each call; n and err are what came of them.
	take, give func(fd uintptr) bool
	limit, n   int
	err        error
}

func newWay(to, from net.Conn) *Way {
	source, ok := from.(socket)
	sink, ok2 := to.(socket)
	if !ok || !ok2 {
		return nil
	}
	w := &Way{from: raw(source), to: raw(sink)}
	if w.from == nil || w.to == nil {
		return nil
	}
	w.take = func(fd uintptr) bool {
		w.n, w.err = call(int(fd), w.pipe.write, w.limit)
		return true // also if there is nothing yet: who waits has no pipe for it
	}
	w.give = func(fd uintptr) bool {
		w.n, w.err = call(w.pipe.read, int(fd), w.limit)
		return w.err != unix.EAGAIN
	}
	return w
}

func raw(c socket) syscall.RawConn {
	conn, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return conn
}

func call(from, to, limit int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, limit, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(max(n, 0)), err
		}
	}
}

// Move carries what is there, at most max bytes and at most Step. It does not wait for the source: 0 is "nothing yet",
// and io.EOF its end. It does wait for the sink, until that takes the bytes, is closed, or its write deadline has come: *SinkError.
// errors.ErrUnsupported, with 0 bytes, says that these sockets must be copied.
func (w *Way) Move(max int64) (int64, error) {
	if w.pipe = getPipe(); w.pipe == nil {
		return 0, errors.ErrUnsupported
	}
	w.limit = int(min(max, Step))
	if err := w.from.Read(w.take); err != nil {
		putPipe(w.pipe)
		return 0, err
	}
	held := w.n
	if held == 0 {
		putPipe(w.pipe)
		switch w.err {
		case nil:
			return 0, io.EOF
		case unix.EAGAIN:
			return 0, nil
		case unix.EINVAL, unix.ENOSYS:
			return 0, errors.ErrUnsupported
		}
		return 0, w.err
	}
	for moved := 0; ; {
		w.limit = held - moved
		err := w.to.Write(w.give)
		if err == nil {
			err = w.err
		}
		if err == nil && w.n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			w.pipe.close() // there are bytes left in it
			return int64(moved), &SinkError{err}
		}
		if moved += w.n; moved == held {
			putPipe(w.pipe)
			return int64(moved), nil
		}
	}
}

// pipe holds bytes between two calls.
type pipe struct{ read, write int }

// idlePipes are empty, and few: one is taken for as long as a Move takes.
var idlePipes struct {
	sync.Mutex
	list []*pipe
}

const maxIdlePipes = 32

func getPipe() *pipe {
	idlePipes.Lock()
	if last := len(idlePipes.list) - 1; last >= 0 {
		p := idlePipes.list[last]
		idlePipes.list = idlePipes.list[:last]
		idlePipes.Unlock()
		return p
	}
	idlePipes.Unlock()
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil // no descriptors
	}
	// A user may not have many large pipes; a small one does as well, in more calls.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, Step)
	return &pipe{read: fds[0], write: fds[1]}
}

func putPipe(p *pipe) {
	idlePipes.Lock()
	if len(idlePipes.list) < maxIdlePipes {
		idlePipes.list = append(idlePipes.list, p)
		p = nil
	}
	idlePipes.Unlock()
	if p != nil {
		p.close()
	}
}

func (p *pipe) close() {
	_ = unix.Close(p.read)
	_ = unix.Close(p.write)
}
