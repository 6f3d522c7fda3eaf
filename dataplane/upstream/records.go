package upstream

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
)

const (
	recordHeader = 5
	// maxPlaintext and maxRecord are RFC 8446, 5.1 and 5.2: a record's contents, and all of it.
	maxPlaintext = 1 << 14
	maxRecord    = recordHeader + maxPlaintext + 256
)

// records gives crypto/tls one record at a time, so that it holds back nothing that has come beyond: what an upstream of HTTP/1 has
// sent unasked must be seen before its connection is used again. It costs no system calls.
type records struct {
	net.Conn
	buf *[maxRecord]byte
	// ahead is what has been read of buf, and left how much of the record at its beginning is still to be given.
	ahead []byte
	left  int
}

var recordBuffers = sync.Pool{New: func() any { return new([maxRecord]byte) }}

// Read gives bytes of one record.
func (r *records) Read(p []byte) (int, error) {
	for r.left == 0 {
		if len(r.ahead) >= recordHeader {
			// What is no record crypto/tls refuses by itself.
			r.left = recordHeader + int(binary.BigEndian.Uint16(r.ahead[3:]))
			break
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	if len(r.ahead) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.ahead[:min(len(r.ahead), r.left)])
	r.left -= n
	if r.ahead = r.ahead[n:]; len(r.ahead) == 0 {
		recordBuffers.Put(r.buf)
		r.buf, r.ahead = nil, nil
	}
	return n, nil
}

// fill reads more behind what is there.
func (r *records) fill() error {
	if r.buf == nil {
		r.buf = recordBuffers.Get().(*[maxRecord]byte)
		r.ahead = r.buf[:0]
	} else if len(r.ahead) < recordHeader {
		r.ahead = r.buf[:copy(r.buf[:], r.ahead)]
	}
	n, err := r.Conn.Read(r.buf[len(r.ahead):])
	r.ahead = r.buf[:len(r.ahead)+n]
	if n > 0 {
		return nil
	}
	if len(r.ahead) == 0 {
		recordBuffers.Put(r.buf)
		r.buf, r.ahead = nil, nil
	}
	return err
}

// NetConn is the connection below.
func (r *records) NetConn() net.Conn { return r.Conn }

// secureConn is a TLS connection that can tell what has come and was not read.
type secureConn struct {
	*tls.Conn
	below *records
	buf   *[maxPlaintext]byte
	// ahead is what of a record's contents has not been given.
	ahead []byte
}

var plaintextBuffers = sync.Pool{New: func() any { return new([maxPlaintext]byte) }}

// Read takes whole records out of crypto/tls, which cannot tell what is left in it.
func (c *secureConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		if len(p) >= maxPlaintext {
			return c.Conn.Read(p)
		}
		buf := plaintextBuffers.Get().(*[maxPlaintext]byte)
		n, err := c.Conn.Read(buf[:])
		taken := copy(p, buf[:n])
		if taken == n {
			plaintextBuffers.Put(buf)
			return n, err
		}
		c.buf, c.ahead = buf, buf[taken:n]
		return taken, nil
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		plaintextBuffers.Put(c.buf)
		c.buf, c.ahead = nil, nil
	}
	return n, nil
}

// Buffered is how many bytes have come that Read has not given, as they are or encrypted. It is for who may call Read.
func (c *secureConn) Buffered() int { return len(c.ahead) + len(c.below.ahead) }
