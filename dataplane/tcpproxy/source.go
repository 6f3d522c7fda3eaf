package tcpproxy

import (
	"net"
	"sync"
	"syscall"
)

// bufferSize is as much as TLS has in a record.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// source is the reading side of one way.
type source struct {
	conn net.Conn
	// raw is the socket itself, where it can be waited for without a buffer; else nil.
	raw syscall.RawConn
	// fill is made once, since its function would be on each call; n and err are what came of it.
	fill   func(fd uintptr) bool
	n      int
	err    error
	buffer *[bufferSize]byte
}

func newSource(c net.Conn) *source {
	s := &source{conn: c}
	s.listen()
	return s
}

// read waits for bytes; they are valid until the next call, or release.
func (s *source) read() ([]byte, error) {
	if s.raw == nil {
		s.take()
		n, err := s.conn.Read(s.buffer[:])
		return s.buffer[:n], err
	}
	if err := s.raw.Read(s.fill); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.buffer[:s.n], nil
}

func (s *source) take() {
	if s.buffer == nil {
		s.buffer = buffers.Get().(*[bufferSize]byte)
	}
}

// release gives the buffer back.
func (s *source) release() {
	if s.buffer != nil {
		buffers.Put(s.buffer)
		s.buffer = nil
	}
}
