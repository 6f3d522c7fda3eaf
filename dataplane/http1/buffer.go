package http1

import (
	"net"
	"sync"
)

// smallBuffer holds most heads, and most bodies that come with one; a connection has one for reading and one for writing
// while it is at work. A head that is longer gets a larger one.
const smallBuffer = 4 << 10

// largeBuffer is for reading on a connection whose last message was longer than a small one: the next is likely to be,
// and one read and one write are cheaper than two.
const largeBuffer = 32 << 10

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func getBuffer() []byte { return smallBuffers.Get().(*[smallBuffer]byte)[:] }

// putBuffer gives a buffer back; those of other sizes are left to the garbage collector, since they are rare.
func putBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// reader is a connection's bytes on their way to a parser.
type reader struct {
	conn net.Conn
	// buf[r:w] are the bytes not used up. buf is nil while none are there and none are awaited.
	buf  []byte
	r, w int
	// kept are buffers with a head that is still in use.
	kept [][]byte
	// head is where that head ends: the bytes before it must not be overwritten.
	head int
	// large: the next buffer is to be a large one.
	large bool
}

func (r *reader) bytes() []byte { return r.buf[r.r:r.w] }

func (r *reader) buffered() int { return r.w - r.r }

// hold keeps the next n bytes, a head, where they are until release, and uses them up.
func (r *reader) hold(n int) {
	r.r += n
	r.head = r.r
}

// release ends the hold; buffers that hold nothing are given back.
func (r *reader) release() {
	for i, b := range r.kept {
		putBuffer(b)
		r.kept[i] = nil
	}
	r.kept = r.kept[:0]
	r.head = 0
	if r.r == r.w {
		r.r, r.w = 0, 0
		if r.buf != nil {
			putBuffer(r.buf)
			r.buf = nil
		}
	}
}

// space makes room to read to: more is the least that is useful.
func (r *reader) space(more int) []byte {
	if r.buf == nil {
		if r.large {
			r.buf = largeBuffers.Get().(*[largeBuffer]byte)[:]
		} else {
			r.buf = getBuffer()
		}
		r.r, r.w = 0, 0
	}
	if r.r == r.w {
		r.r, r.w = r.head, r.head
	}
	if len(r.buf)-r.w >= more {
		return r.buf[r.w:]
	}
	unread := r.w - r.r
	if len(r.buf)-r.head-unread >= more && r.r > r.head {
		copy(r.buf[r.head:], r.buf[r.r:r.w])
		r.r, r.w = r.head, r.head+unread
		return r.buf[r.w:]
	}
	// A head in use stays in the old buffer; one that is still read needs a buffer twice as large.
	var next []byte
	if size := unread + more; size <= smallBuffer {
		next = getBuffer()
	} else {
		next = make([]byte, max(2*len(r.buf), size))
	}
	copy(next, r.buf[r.r:r.w])
	if r.head > 0 {
		r.kept = append(r.kept, r.buf)
		r.head = 0
	} else {
		putBuffer(r.buf)
	}
	r.buf, r.r, r.w = next, 0, unread
	return r.buf[r.w:]
}

// Space and Filled are for a read that waits without a buffer.
func (r *reader) Space() []byte { return r.space(512) }

// Filled takes what was read.
func (r *reader) Filled(n int) {
	if n == 0 {
		r.release()
	}
	r.w += n
}

// close gives all back.
func (r *reader) close() {
	r.r, r.w = 0, 0
	r.release()
}
