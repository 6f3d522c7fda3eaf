package http2

import (
	"io"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// dataFrame takes a part of a request's body.
func (c *serverConn) dataFrame(fh xhttp2.FrameHeader) error {
	n, pad := int(fh.Length), 0
	if fh.Flags.Has(xhttp2.FlagDataPadded) {
		b, err := c.in.Peek(1)
		if err != nil && n > 0 {
			return err
		}
		if n == 0 || int(b[0]) >= n {
			return connectionError{xhttp2.ErrCodeProtocol, "DATA with more padding than payload"}
		}
		pad = 1 + int(b[0])
		_, _ = c.in.Discard(1)
		n -= pad
	}
	end := fh.Flags.Has(xhttp2.FlagDataEndStream)
	if n <= readBuffer {
		// The usual case: what is small is copied from where it was read.
		p, err := c.in.Peek(n)
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.takeData(fh.StreamID, p, nil, n+pad, end)
		c.mu.Unlock()
		_, _ = c.in.Discard(n)
		if err != nil {
			return err
		}
	} else {
		whole := newChunk(n)
		whole.to = n
		_, err := io.ReadFull(c.in, whole.buf[:n])
		if err == nil {
			c.mu.Lock()
			err = c.takeData(fh.StreamID, whole.buf[:n], whole, n+pad, end)
			c.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	if pad > 1 {
		_, err := c.in.Discard(pad - 1)
		return err
	}
	return nil
}

// takeData gives DATA to its stream: p, which is all of chunk if that is not nil. It counts size bytes against the
// windows. mu is held.
func (c *serverConn) takeData(id uint32, p []byte, whole *chunk, size int, end bool) (err error) {
	kept := 0
	defer func() {
		if whole != nil && kept == 0 {
			whole.free()
		}
		// What nobody will read, padding too, is credited now.
		if err == nil && kept < size && c.credit(nil, size-kept) {
			c.owes = true
		}
	}()
	if id == 0 {
		return connectionError{xhttp2.ErrCodeProtocol, "DATA on stream 0"}
	}
	if !c.receive.receive(size) {
		return connectionError{xhttp2.ErrCodeFlowControl, "more DATA than the connection's window"}
	}
	s := c.streams[id]
	switch {
	case s == nil && c.gone.has(id), s == nil && c.drain >= drainLast && id > c.last:
		// RFC 9113, 5.1 and 6.8: it was sent before the client read of our reset, or GOAWAY. What the network limits may
		// be as much as the window allowed; what is small may not.
		if size < costlyData && !c.patience.spend(costFrame) {
			return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "DATA for nobody"}
		}
		return nil
	case s == nil:
		if err := c.noStream(id); err != nil {
			return err
		}
		return c.streamError(id, xhttp2.ErrCodeStreamClosed, "DATA on a closed stream")
	case s.remoteEnded:
		return c.streamError(id, xhttp2.ErrCodeStreamClosed, "DATA after the end of the stream")
	case !s.receive.receive(size):
		return c.streamError(id, xhttp2.ErrCodeFlowControl, "more DATA than the stream's window")
	}
	s.received += int64(len(p))
	if s.declared >= 0 && s.received > s.declared {
		// RFC 9113, 8.1.1.
		return c.streamError(id, xhttp2.ErrCodeProtocol, "more DATA than content-length")
	}
	switch {
	case len(p) > 0:
		kept = len(p)
		if whole != nil {
			s.body.push(whole)
		} else {
			s.body.add(p)
		}
		c.patience.earn(earnData)
	case !end:
		if !c.patience.spend(costEmpty) {
			return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "DATA without data"}
		}
	}
	if pad := size - kept; pad > 0 && !end {
		if by := s.receive.read(pad); by > 0 {
			c.windowUpdate(id, by)
			c.owes = true
		}
	}
	if end {
		c.endBody(s)
	}
	s.readable.Signal()
	return nil
}

// endBody notes that the request is whole, or is not what it said.
func (c *serverConn) endBody(s *ServerStream) {
	s.remoteEnded = true
	if s.declared >= 0 && s.received < s.declared {
		s.bodyErr = failure.Newf(failure.BadRequest, "%d bytes, content-length said %d", s.received, s.declared)
	}
	s.readable.Signal()
	if s.localEnded {
		c.complete(s)
	}
}

// credit gives n bytes back to the connection's window, and to a stream's if there is one that goes on; mu is held.
func (c *serverConn) credit(s *ServerStream, n int) (gathered bool) {
	if by := c.receive.read(n); by > 0 {
		c.windowUpdate(0, by)
		gathered = true
	}
	if s != nil && !s.remoteEnded && !s.closed {
		if by := s.receive.read(n); by > 0 {
			c.windowUpdate(s.id, by)
			gathered = true
		}
	}
	return gathered
}
