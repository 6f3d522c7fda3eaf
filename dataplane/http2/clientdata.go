package http2

import (
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
	c.lock()
	s, err := c.admit(h, length)
	if s != nil && s != &lingering && length > 0 && c.in.Buffered() >= length {
		// As most frames are: here as a whole.
		p, _ := c.in.Peek(length)
		s.body.append(p)
		if !h.Flags.Has(xhttp2.FlagDataEndStream) {
			s.readable.Signal()
		}
		_, _ = c.in.Discard(length)
		length = 0
	}
	c.unlock()
	if err != nil {
		return err
	}
	for length > 0 {
		if _, err := c.in.Peek(1); err != nil {
			return err
		}
		p, _ := c.in.Peek(min(length, c.in.Buffered()))
		c.lock()
		if s != nil && s != &lingering && c.streams[h.StreamID] == s {
			s.body.append(p)
			s.readable.Signal()
		}
		c.unlock()
		n, _ := c.in.Discard(len(p))
		length -= n
	}
	if _, err := c.in.Discard(padding); err != nil {
		return err
	}
	if s == nil || !h.Flags.Has(xhttp2.FlagDataEndStream) {
		return nil
	}
	c.lock()
	defer c.unlock()
	switch {
	case c.streams[h.StreamID] != s:
	case s == &lingering:
		c.unlinger(h.StreamID)
	default:
		c.ended(s)
	}
	return nil
}

// admit holds a DATA frame against the windows, and against what was said of the body. It returns the stream that is to
// have it; nil if none. the lock is held.
func (c *ClientConn) admit(h xhttp2.FrameHeader, length int) (*ClientStream, error) {
	size := int(h.Length)
	if !c.received.receive(size) {
		return nil, connectionError{xhttp2.ErrCodeFlowControl, "DATA beyond the connection's window"}
	}
	if n := c.received.read(size); n > 0 {
		c.out.windowUpdate(0, n)
		c.kick = true
	}
	if h.StreamID == 0 {
		return nil, protocolError("DATA on stream 0")
	}
	s, err := c.find(h.StreamID)
	switch {
	case s == nil:
		return nil, err
	case s == &lingering:
		if length > 0 {
			c.out.reset(h.StreamID, xhttp2.ErrCodeProtocol)
			c.kick = true
			c.unlinger(h.StreamID)
			return nil, nil
		}
		return s, nil
	case s.gotEnd:
		// The answer is whole; the upstream is not wanted any more.
		c.reset(s, xhttp2.ErrCodeStreamClosed, failure.New(failure.Reset, errSentEnd))
		return nil, nil
	}
	if length > 0 {
		c.junk = 0
	} else if err := c.useless(); err != nil && !h.Flags.Has(xhttp2.FlagDataEndStream) {
		return nil, err
	}
	if !s.received.receive(size) {
		c.reset(s, xhttp2.ErrCodeFlowControl, failure.Newf(failure.BadResponse, "DATA beyond the stream's window"))
		return nil, nil
	}
	// Padding is never read by anybody.
	s.give(size - length)
	switch {
	case !s.final:
		c.malformed(s, "DATA before a head")
		return nil, nil
	case length > 0 && s.bodiless:
		c.malformed(s, "a body with status %d, or for HEAD (RFC 9110, 6.4.1)", s.head.Status)
		return nil, nil
	case s.expect >= 0 && int64(length) > s.expect:
		c.malformed(s, "the body is longer than content-length")
		return nil, nil
	case s.expect >= 0:
		s.expect -= int64(length)
	}
	return s, nil
}

func (c *ClientConn) unlinger(id uint32) {
	delete(c.streams, id)
	c.lingering--
	c.freed()
}
