package http2

import (
	"slices"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// readHeaders reads a field section, CONTINUATION and all, since HPACK's state is the connection's (RFC 9113, 4.3).
func (c *ClientConn) readHeaders(h xhttp2.FrameHeader) error {
	if h.StreamID == 0 {
		return protocolError("HEADERS on stream 0")
	}
	// What it is depends on what came before; only this goroutine changes that.
	c.lock()
	kind := responseSection
	if s := c.streams[h.StreamID]; s != nil && s.final {
		kind = trailerSection
	}
	c.unlock()
	f := c.fields
	f.begin(kind, c.scratch)
	for frame := h; ; {
		// A frame fits into the buffer.
		p, err := c.in.Peek(int(frame.Length))
		if err != nil {
			return err
		}
		fragment := p
		if frame.Type == xhttp2.FrameHeaders {
			// Of its priority nothing is asked any more (RFC 9113, 5.3.2).
			if fragment, _, err = headerPayload(frame, p); err != nil {
				return err
			}
		}
		if err := f.write(fragment); err != nil {
			return err
		}
		_, _ = c.in.Discard(len(p))
		if frame.Flags.Has(xhttp2.FlagHeadersEndHeaders) {
			break
		}
		if frame, err = c.framer.ReadFrameHeader(); err != nil {
			return c.frameError(err)
		}
	}
	tooLarge, why, err := f.end()
	c.scratch = f.fields
	if err != nil {
		return err
	}
	c.lock()
	defer c.unlock()
	s, err := c.find(h.StreamID)
	end := h.Flags.Has(xhttp2.FlagHeadersEndStream)
	switch {
	case s == nil:
		return err
	case s == &lingering:
		if end {
			c.unlinger(h.StreamID)
		}
		return nil
	case s.gotEnd:
		c.reset(s, xhttp2.ErrCodeStreamClosed, failure.New(failure.Reset, errSentEnd))
		return nil
	}
	c.patience.earn(earnAnswer)
	switch {
	case tooLarge:
		c.malformed(s, "fields of more than %d bytes", c.opts.MaxHeaderBytes)
	case why != nil:
		c.malformed(s, "%s", why.text)
	case s.final:
		c.takeTrailer(s, end)
	default:
		c.takeHead(s, end)
	}
	return nil
}

// takeHead takes a head of status 1xx, or the final one. The lock is held.
func (c *ClientConn) takeHead(s *ClientStream, end bool) {
	var head message.Response
	why := c.fields.response(&head, end)
	if why != nil {
		c.malformed(s, "%s", why.text)
		return
	}
	status, length := head.Status, c.fields.declared
	switch {
	case status < 200 && end:
		c.malformed(s, "status %d ends the stream (RFC 9113, 8.1)", status)
		return
	case status == 101:
		c.malformed(s, "status 101 (RFC 9113, 8.6)")
		return
	case status < 200 && len(s.early) >= maxEarly:
		c.malformed(s, "more than %d informational answers", maxEarly)
		return
	case (status < 200 || status == 204) && length > 0:
		c.malformed(s, "status %d with content-length %d (RFC 9110, 8.6)", status, length)
		return
	}
	s.answered = true
	if status < 200 {
		head.Header = slices.Clone(head.Header)
		s.early = append(s.early, head)
		s.readable.Signal()
		return
	}
	if s.upgrade != "" && status < 300 {
		if why := s.switched(&head, length); why != "" {
			c.malformed(s, "%s", why)
			return
		}
		status = head.Status
	}
	s.final = true
	s.bodiless = s.isHead || status == 204 || status == 304
	s.expect = length
	switch {
	case s.bodiless:
		head.ContentLength, s.expect = 0, -1
	case !end && length == 0:
		// Trailers may follow: Read finds out.
		head.ContentLength = -1
	}
	c.scratch, s.head = s.head.Header, head
	if end {
		c.ended(s)
		return
	}
	s.readable.Signal()
}

// takeTrailer takes what follows the body. The lock is held.
func (c *ClientConn) takeTrailer(s *ClientStream, end bool) {
	if !end {
		c.malformed(s, "trailers that do not end the stream (RFC 9113, 8.1)")
		return
	}
	c.scratch, s.trailer = s.trailer, c.fields.trailer()
	c.ended(s)
}
