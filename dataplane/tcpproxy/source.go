package tcpproxy

import (
	"net"
	"sync"

	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// bufferSize is as much as TLS has in a record.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// source is the reading side of one way. Where it is a socket it waits without a buffer: who has thousands of connections,
// most of them quiet, has few buffers.
type source struct {
	conn net.Conn
	// socket is conn, or nil.
	socket *socket.Conn
	n      int
	buffer *[bufferSize]byte
}

func newSource(c net.Conn) *source {
	s := &source{conn: c}
	s.socket, _ = c.(*socket.Conn)
	return s
}

// read waits for bytes; they are valid until the next call, or release.
func (s *source) read() ([]byte, error) {
	if s.socket == nil {
		n, err := s.conn.Read(s.Space())
		return s.buffer[:n], err
	}
	if err := s.socket.Fill(s); err != nil {
		return nil, err
	}
	return s.buffer[:s.n], nil
}

// Space is where a read goes to.
func (s *source) Space() []byte {
	if s.buffer == nil {
		s.buffer = buffers.Get().(*[bufferSize]byte)
	}
	return s.buffer[:]
}

// Filled takes what was read.
func (s *source) Filled(n int) {
	if s.n = n; n == 0 {
		s.release()
	}
}

// release gives the buffer back.
func (s *source) release() {
	if s.buffer != nil {
		buffers.Put(s.buffer)
		s.buffer = nil
	}
}
