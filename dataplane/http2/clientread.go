package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

func protocolError(format string, args ...any) error {
	return connectionError{xhttp2.ErrCodeProtocol, fmt.Sprintf(format, args...)}
}

// read is the reading goroutine: it hands each frame to its stream, and waits for nothing but the socket.
func (c *ClientConn) read() {
	err := c.readFrames()
	c.lock()
	defer c.unlock()
	var broken connectionError
	switch {
	case c.over != nil:
	case errors.As(err, &broken):
		c.out.goAway(0, broken.code, broken.text)
		c.end(failure.New(failure.BadResponse, err))
	default:
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if c.out.err != nil {
			err = c.out.err
		}
		c.end(failure.New(failure.Reset, err))
	}
}

func (c *ClientConn) readFrames() error {
	if err := c.greeting(); err != nil {
		return err
	}
	for {
		h, err := c.framer.ReadFrameHeader()
		if err != nil {
			return c.frameError(err)
		}
		switch h.Type {
		case xhttp2.FrameData:
			err = c.readData(h)
		case xhttp2.FrameHeaders:
			err = c.readHeaders(h)
		default:
			err = c.readOther(h)
		}
		if err != nil {
			return err
		}
	}
}

// greeting sees to it that the first frame is SETTINGS (RFC 9113, 3.4), and says so if it is HTTP/1.
func (c *ClientConn) greeting() error {
	first, err := c.in.Peek(9)
	if bytes.HasPrefix(first, []byte("HTTP/1.")) {
		return protocolError("the upstream answers with HTTP/1, want HTTP/2")
	}
	if err != nil {
		return err
	}
	if xhttp2.FrameType(first[3]) != xhttp2.FrameSettings || first[4]&byte(xhttp2.FlagSettingsAck) != 0 {
		return protocolError("the first frame is not SETTINGS (RFC 9113, 3.4)")
	}
	return nil
}

// frameError makes a violation of what the Framer found.
func (c *ClientConn) frameError(err error) error {
	if err == xhttp2.ErrFrameTooLarge {
		return connectionError{xhttp2.ErrCodeFrameSize, "frame larger than 16 KiB"}
	}
	var conn xhttp2.ConnectionError
	if errors.As(err, &conn) {
		text := err.Error()
		if detail := c.framer.ErrorDetail(); detail != nil {
			text = detail.Error()
		}
		return connectionError{xhttp2.ErrCode(conn), text}
	}
	return err
}

// idle tells whether a stream was never begun; streams of even numbers are pushed, which we forbid. The lock is held.
func (c *ClientConn) isIdle(id uint32) bool { return id%2 == 0 || id >= c.nextID }

// useless counts a frame that brought nobody further. The lock is held.
func (c *ClientConn) useless(cost int) error {
	if !c.patience.spend(cost) {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many frames that bring nothing"}
	}
	return nil
}

// reset ends a stream with RST_STREAM. The lock is held.
func (c *ClientConn) reset(s *ClientStream, code xhttp2.ErrCode, why *failure.Error) {
	if c.streams[s.id] == s {
		c.out.reset(s.id, code)
		c.gone.add(s.id)
		c.kick = true
		c.forget(s)
	}
	s.fail(why)
}

// malformed is an answer that breaks the protocol: a stream error (RFC 9113, 8.1.1). The lock is held.
func (c *ClientConn) malformed(s *ClientStream, format string, args ...any) {
	c.reset(s, xhttp2.ErrCodeProtocol, failure.Newf(failure.BadResponse, format, args...))
}

// find is an open stream; nil if it has ended. The lock is held.
func (c *ClientConn) find(id uint32) (*ClientStream, error) {
	if s := c.streams[id]; s != nil {
		return s, nil
	}
	if c.isIdle(id) {
		return nil, protocolError("frame on stream %d, which is idle (RFC 9113, 5.1)", id)
	}
	if c.gone.has(id) {
		return nil, nil
	}
	return nil, c.useless(costFrame)
}

// ended is END_STREAM. The lock is held.
func (c *ClientConn) ended(s *ClientStream) {
	if s.expect > 0 {
		c.malformed(s, "the body is %d bytes shorter than content-length", s.expect)
		return
	}
	s.gotEnd = true
	if s.sentEnd {
		c.forget(s)
	}
	s.readable.Signal()
}
