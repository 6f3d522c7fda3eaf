package http2

import (
	"io"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// readData reads a DATA frame (RFC 9113, 6.1).
func (c *ClientConn) readData(h xhttp2.FrameHeader) error {
	padding, length := 0, int(h.Length)
	if h.Flags.Has(xhttp2.FlagDataPadded) {
		if length == 0 {
			return connectionError{xhttp2.ErrCodeFrameSize, "DATA without its padding's length"}
		}
		b, err := c.in.ReadByte()
		if err != nil {
			return err
		}
		if padding, length = int(b), length-1; padding > length {
			return protocolError("DATA with more padding than payload")
		}
		length -= padding
	}
	var p []byte
	var whole *chunk
	if length <= smallChunk || length <= c.in.Buffered() {
		// What is small, or here already, is copied from where it was read.
		var err error
		if p, err = c.in.Peek(length); err != nil {
			return err
		}
	} else {
		whole = newChunk(length)
		if _, err := io.ReadFull(c.in, whole.buf[:length]); err != nil {
			whole.free()
			return err
		}
		whole.to = length
	}
	c.lock()
	err := c.takeData(h, p, whole, length)
	c.unlock()
	if _, discardErr := c.in.Discard(len(p) + padding); err == nil {
		err = discardErr
	}
	return err
}

// takeData gives DATA to its stream: p, or all of a chunk. The lock is held.
func (c *ClientConn) takeData(h xhttp2.FrameHeader, p []byte, whole *chunk, length int) error {
	s, err := c.admit(h, length)
	switch {
	case s != nil && whole != nil:
		s.body.push(whole)
	case whole != nil:
		whole.free()
	case s != nil && length > 0:
		s.body.add(p)
	}
	if s == nil {
		return err
	}
	if h.Flags.Has(xhttp2.FlagDataEndStream) {
		c.ended(s)
	} else if length > 0 {
		s.readable.Signal()
	}
	return nil
}

// admit holds a DATA frame against the windows, and against what was said of the body. It returns the stream that is to
// have it; nil if none. The lock is held.
func (c *ClientConn) admit(h xhttp2.FrameHeader, length int) (*ClientStream, error) {
	size, end := int(h.Length), h.Flags.Has(xhttp2.FlagDataEndStream)
	if h.StreamID == 0 {
		return nil, protocolError("DATA on stream 0")
	}
	if !c.received.receive(size) {
		return nil, connectionError{xhttp2.ErrCodeFlowControl, "DATA beyond the connection's window"}
	}
	if n := c.received.read(size); n > 0 {
		c.out.windowUpdate(0, n)
		c.kick = true
	}
	s, err := c.find(h.StreamID)
	switch {
	case s == nil:
		return nil, err
	case s == &lingering:
		if length > 0 {
			c.out.reset(h.StreamID, xhttp2.ErrCodeProtocol)
			c.kick = true
		}
		if length > 0 || end {
			c.unlinger(h.StreamID)
			return nil, nil
		}
		return nil, c.useless(costEmpty)
	case s.gotEnd:
		// RFC 9113, 5.1: the answer is whole. What comes behind it is not wanted, and who sends it is not trusted with the
		// rest of the request.
		c.reset(s, xhttp2.ErrCodeStreamClosed, failure.New(failure.Reset, errSentEnd))
		return nil, nil
	case !s.received.receive(size):
		c.reset(s, xhttp2.ErrCodeFlowControl, failure.Newf(failure.BadResponse, "DATA beyond the stream's window"))
		return nil, nil
	case !s.final:
		c.malformed(s, "DATA before a head (RFC 9113, 8.1)")
		return nil, nil
	case length > 0 && s.bodiless:
		c.malformed(s, "a body with status %d, or for HEAD (RFC 9110, 6.4.1)", s.head.Status)
		return nil, nil
	case s.expect >= 0 && int64(length) > s.expect:
		c.malformed(s, "the body is longer than content-length (RFC 9113, 8.1.1)")
		return nil, nil
	}
	if length > 0 {
		c.patience.earn(earnData)
	} else if !end {
		if err := c.useless(costEmpty); err != nil {
			return nil, err
		}
	}
	if s.expect >= 0 {
		s.expect -= int64(length)
	}
	if !end {
		// Padding is never read by anybody.
		s.give(size - length)
	}
	return s, nil
}

// unlinger ends a stream that nobody waited for. The lock is held.
func (c *ClientConn) unlinger(id uint32) {
	delete(c.streams, id)
	c.lingering--
	c.freed()
}
