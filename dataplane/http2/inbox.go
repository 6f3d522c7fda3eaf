package http2

import "sync"

// inboxSizes are those of pooled buffers. The first holds most bodies; the last is a client stream's whole window.
var inboxSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10}

var inboxPools = func() (pools [len(inboxSizes)]*sync.Pool) {
	for i, size := range inboxSizes {
		pools[i] = &sync.Pool{New: func() any {
			b := make([]byte, size)
			return &b
		}}
	}
	return pools
}()

// inbox holds the bytes of a body that came and were not yet read. The stream's window bounds it. Its owner locks it.
type inbox struct {
	// buf is a pooled buffer, or nil while nothing waits; class is its size's place in inboxSizes.
	buf   *[]byte
	class int
	// (*buf)[r:w] are the bytes.
	r, w int
}

func (b *inbox) len() int { return b.w - b.r }

// append copies bytes in.
func (b *inbox) append(p []byte) {
	if b.buf == nil || len(*b.buf)-b.w < len(p) {
		b.room(len(p))
	}
	b.w += copy((*b.buf)[b.w:], p)
}

// room makes place for n bytes more: by moving what is there to the front, or to a larger buffer.
func (b *inbox) room(n int) {
	n += b.len()
	if b.buf != nil && n <= len(*b.buf) {
		b.w = copy(*b.buf, (*b.buf)[b.r:b.w])
		b.r = 0
		return
	}
	next := inbox{class: len(inboxSizes)}
	for class, size := range inboxSizes {
		if n <= size {
			next.buf, next.class = inboxPools[class].Get().(*[]byte), class
			break
		}
	}
	if next.buf == nil {
		// A window larger than the largest pooled buffer.
		large := make([]byte, 2*n)
		next.buf = &large
	}
	if b.buf != nil {
		next.w = copy(*next.buf, (*b.buf)[b.r:b.w])
		b.free()
	}
	*b = next
}

// read takes bytes out, and gives the buffer back with the last of them.
func (b *inbox) read(p []byte) int {
	if b.buf == nil {
		return 0
	}
	n := copy(p, (*b.buf)[b.r:b.w])
	if b.r += n; b.r == b.w {
		b.free()
	}
	return n
}

// free drops all.
func (b *inbox) free() {
	if b.buf != nil && b.class < len(inboxSizes) {
		inboxPools[b.class].Put(b.buf)
	}
	*b = inbox{}
}
