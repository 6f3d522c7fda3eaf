package http2

import (
	"encoding/binary"
	"io"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// headersFrame takes a field section: a request's head, or its trailers.
func (c *serverConn) headersFrame(fh xhttp2.FrameHeader) error {
	if fh.StreamID%2 == 0 {
		return connectionError{xhttp2.ErrCodeProtocol, "HEADERS on a stream that no client opens"}
	}
	c.mu.Lock()
	s, last := c.streams[fh.StreamID], c.last
	reset := s == nil && c.gone.has(fh.StreamID)
	late := s == nil && c.drain >= drainLast && fh.StreamID > last
	c.mu.Unlock()
	end := fh.Flags.Has(xhttp2.FlagHeadersEndStream)
	switch {
	case s != nil:
		return c.trailersFrame(fh, end)
	case late, reset:
		// RFC 9113, 6.8 and 5.1: it was sent before the client read of it. HPACK's table is kept up with.
		c.fields.begin(trailerSection, nil)
		_, _, _, err := c.section(fh)
		if err == nil && !c.spend(costReset) {
			err = connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many requests after the end"}
		}
		return err
	case fh.StreamID <= last:
		return connectionError{xhttp2.ErrCodeStreamClosed, "HEADERS on a closed stream"}
	}
	return c.newStream(fh, end)
}

func (c *serverConn) spend(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.patience.spend(n)
}

// section reads a whole field section, which begin has begun.
func (c *serverConn) section(fh xhttp2.FrameHeader) (tooLarge, selfish bool, why *malformed, err error) {
	p, err := c.payload(fh)
	if err == nil {
		p, selfish, err = headerPayload(fh, p)
	}
	for err == nil {
		if err = c.fields.write(p); err != nil || fh.Flags.Has(xhttp2.FlagHeadersEndHeaders) {
			break
		}
		// The Framer sees to it that CONTINUATION follows, of the same stream.
		if fh, err = c.framer.ReadFrameHeader(); err == nil {
			p, err = c.payload(fh)
		}
	}
	if err != nil {
		return false, false, nil, err
	}
	tooLarge, why, err = c.fields.end()
	return tooLarge, selfish, why, err
}

// newStream takes a request's head.
func (c *serverConn) newStream(fh xhttp2.FrameHeader, end bool) error {
	s := newServerStream(c, fh.StreamID)
	c.fields.begin(requestSection, s.header)
	tooLarge, selfish, why, err := c.section(fh)
	if err != nil {
		return err
	}
	bad := c.fields.request(&s.req, end, c.secure)
	s.header = s.req.Header
	if why == nil {
		why = bad
	}
	s.declared, s.remoteEnded = c.fields.declared, end
	s.expects = !end && why == nil && s.expectsContinue()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = fh.StreamID
	switch {
	case selfish:
		return c.streamError(s.id, xhttp2.ErrCodeProtocol, "a stream that depends on itself")
	case tooLarge:
		return c.refuse(s, failure.Newf(failure.HeadersTooLarge, "fields beyond %d bytes or %d in number",
			c.fields.maxBytes, c.fields.maxCount))
	case why != nil && why.polite:
		return c.refuse(s, failure.New(failure.BadRequest, why))
	case why != nil:
		return c.streamError(s.id, xhttp2.ErrCodeProtocol, why.text)
	case c.active-c.whole >= c.limit || c.active >= 2*c.limit+maxIdleWorkers:
		// A client that has its whole answer may open another stream, even if the handler is not yet back; one that has reset
		// its stream may not.
		// RFC 9113, 8.7: it was not processed, and may be sent again.
		return c.streamError(s.id, xhttp2.ErrCodeRefusedStream, "too many streams")
	}
	s.opened()
	c.streams[s.id] = s
	c.dispatch(s)
	return nil
}

// trailersFrame takes a second field section of a stream: it must end it (RFC 9113, 8.1).
func (c *serverConn) trailersFrame(fh xhttp2.FrameHeader, end bool) error {
	id := fh.StreamID
	c.fields.begin(trailerSection, nil)
	tooLarge, _, why, err := c.section(fh)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := c.streams[id]; {
	case s == nil:
		return nil
	case s.remoteEnded:
		return c.streamError(id, xhttp2.ErrCodeStreamClosed, "HEADERS after the end of the stream")
	case !end:
		return c.streamError(id, xhttp2.ErrCodeProtocol, "trailers that do not end the stream")
	case why != nil:
		return c.streamError(id, xhttp2.ErrCodeProtocol, why.text)
	case tooLarge:
		return c.streamError(id, xhttp2.ErrCodeEnhanceYourCalm, "trailers too large")
	default:
		s.trailer = c.fields.trailer()
		c.endBody(s)
	}
	return nil
}

// refuse answers a request that never reaches a handler, with a head alone: that needs no window. mu is held.
func (c *serverConn) refuse(s *ServerStream, why *failure.Error) error {
	if c.opts.Refused != nil {
		c.mu.Unlock()
		c.opts.Refused(&s.req, why)
		c.mu.Lock()
	}
	c.beginHeaders(s.id)
	c.pseudo(":status", statusText(why.Status()))
	c.pseudo("content-length", "0")
	if err := c.endHeaders(s.id, true); err != nil {
		return err
	}
	c.gone.add(s.id)
	if !s.remoteEnded {
		// RFC 9113, 8.1: the rest of the request is not wanted.
		c.reset(s.id, xhttp2.ErrCodeNo)
	}
	if !c.patience.spend(costReset) {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many bad requests"}
	}
	return c.answers()
}

// headerPayload takes the padding and the priority off a HEADERS frame's payload (RFC 9113, 6.2).
func headerPayload(fh xhttp2.FrameHeader, p []byte) (fragment []byte, dependsOnItself bool, err error) {
	bad := connectionError{xhttp2.ErrCodeProtocol, "HEADERS with more padding than payload"}
	pad := 0
	if fh.Flags.Has(xhttp2.FlagHeadersPadded) {
		if len(p) < 1 {
			return nil, false, bad
		}
		pad, p = int(p[0]), p[1:]
	}
	if fh.Flags.Has(xhttp2.FlagHeadersPriority) {
		if len(p) < 5 {
			return nil, false, connectionError{xhttp2.ErrCodeFrameSize, "HEADERS too short for its priority"}
		}
		dependsOnItself = binary.BigEndian.Uint32(p)&maxWindow == fh.StreamID
		p = p[5:]
	}
	if pad > len(p) {
		return nil, false, bad
	}
	return p[:len(p)-pad], dependsOnItself, nil
}

// payload reads a frame's payload; it is valid until the next read.
func (c *serverConn) payload(fh xhttp2.FrameHeader) ([]byte, error) {
	n := int(fh.Length)
	if n <= readBuffer {
		p, err := c.in.Peek(n)
		_, _ = c.in.Discard(len(p))
		return p, err
	}
	if cap(c.scratch) < n {
		c.scratch = make([]byte, defaultFrame)
	}
	_, err := io.ReadFull(c.in, c.scratch[:n])
	return c.scratch[:n], err
}
