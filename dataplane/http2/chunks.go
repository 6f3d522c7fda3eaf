package http2

import "sync"

// A chunk holds DATA that came and waits to be read. Small frames share one, so that many of them do not take more
// memory than the window that allowed them.
type chunk struct {
	next *chunk
	buf  []byte
	// buf[from:to] is to be read.
	from, to int
}

const smallChunk = 4 << 10

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, defaultFrame)} }}
)

// newChunk is an empty one with room for n bytes, at most defaultFrame.
func newChunk(n int) *chunk {
	if n <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (c *chunk) free() {
	c.next, c.from, c.to = nil, 0, 0
	if len(c.buf) == smallChunk {
		smallChunks.Put(c)
	} else {
		largeChunks.Put(c)
	}
}

// chunks are a body that was received, and not yet read. The connection's lock guards them.
type chunks struct {
	first, last *chunk
	n           int
}

// add copies bytes in.
func (b *chunks) add(p []byte) {
	b.n += len(p)
	for len(p) > 0 {
		if b.last == nil || b.last.to == len(b.last.buf) {
			b.append(newChunk(len(p)))
		}
		n := copy(b.last.buf[b.last.to:], p)
		b.last.to += n
		p = p[n:]
	}
}

// push takes a chunk over that holds bytes.
func (b *chunks) push(c *chunk) {
	b.n += c.to - c.from
	b.append(c)
}

func (b *chunks) append(c *chunk) {
	if b.last == nil {
		b.first = c
	} else {
		b.last.next = c
	}
	b.last = c
}

// read copies bytes out.
func (b *chunks) read(p []byte) (n int) {
	for n < len(p) && b.first != nil {
		c := b.first
		m := copy(p[n:], c.buf[c.from:c.to])
		n += m
		if c.from += m; c.from < c.to {
			break
		}
		b.drop()
	}
	b.n -= n
	return n
}

// pop takes the first chunk out, which must be there: it is the caller's to free.
func (b *chunks) pop() *chunk {
	c := b.first
	b.n -= c.to - c.from
	if b.first = c.next; b.first == nil {
		b.last = nil
	}
	c.next = nil
	return c
}

func (b *chunks) drop() {
	c := b.first
	if b.first = c.next; b.first == nil {
		b.last = nil
	}
	c.free()
}

// clear drops all that is left.
func (b *chunks) clear() {
	for b.first != nil {
		b.drop()
	}
	b.n = 0
}
