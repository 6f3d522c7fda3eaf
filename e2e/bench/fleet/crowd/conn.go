package crowd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/e2e/bench/frame"
)

// The windows are Envoy's defaults for HTTP/2, in bytes.
const (
	streamWindow     = 16 << 20
	connectionWindow = 24 << 20
	// standardWindow is what both sides begin with, RFC 9113, 6.9.2.
	standardWindow = 65535
	// maxFrame is the largest frame that is sent, RFC 9113, 4.2.
	maxFrame = 1 << 14
	// maxMessage bounds what a server may make us keep.
	maxMessage = 64 << 20
	theStream  = 1
)

// conn is one gRPC stream on a connection of its own. One goroutine uses it.
type conn struct {
	net    net.Conn
	frames frame.Reader
	out    []byte // frames to be written
	body   []byte // DATA that waits for the server's window
	// window and streamWindow are what may be sent; initial is what the server grants a stream at first.
	window, streamWindow, initial int
	taken                         int     // bytes that the server was not given back yet
	message                       *[]byte // what came of one; nil: nothing
	blocks                        []byte  // the header blocks so far
	ended                         bool
}

// dial connects and begins the call.
func dial(addr, method string) (*conn, error) {
	n, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{net: n, window: standardWindow, streamWindow: standardWindow, initial: standardWindow}
	c.out = append(c.out, frame.Preface...)
	c.out = frame.AppendSetting(c.out, 4, streamWindow) // SETTINGS_INITIAL_WINDOW_SIZE
	c.out = frame.AppendWindowUpdate(c.out, 0, connectionWindow-standardWindow)
	c.out = frame.Append(c.out, frame.Headers, frame.EndHeaders, theStream, frame.Block(
		":method", "POST", ":scheme", "http", ":path", method, ":authority", addr,
		"content-type", "application/grpc", "te", "trailers", "user-agent", "crowd"))
	return c, nil
}

// send queues a message; flush writes it, as far as the server's window lets it.
func (c *conn) send(m []byte) {
	var prefix [5]byte // not compressed, length: gRPC over HTTP/2
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(m)))
	c.body = append(append(c.body, prefix[:]...), m...)
}

func (c *conn) flush() error {
	for len(c.body) > 0 {
		n := min(len(c.body), c.window, c.streamWindow, maxFrame)
		if n <= 0 {
			break
		}
		c.out = frame.Append(c.out, frame.Data, 0, theStream, c.body[:n])
		c.window, c.streamWindow, c.body = c.window-n, c.streamWindow-n, c.body[n:]
	}
	if len(c.body) == 0 {
		c.body = nil // it may have been long, and the next are short
	}
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > maxFrame {
		c.out = nil
	}
	return err
}

// read reads what comes next, and calls a function with each message that is whole then; the bytes are the
// connection's own, for as long as the call takes. An error is also the end of the stream, with what the server said.
func (c *conn) read(buffer []byte, each func(message []byte) error) error {
	n, err := c.net.Read(buffer)
	if err != nil {
		return err
	}
	err = c.frames.Each(buffer[:n], func(f frame.Frame) error { return c.frame(f, each) })
	if c.ended { // it may reset the stream after that
		return fmt.Errorf("the server ended the stream: %s", c.status())
	}
	if err != nil {
		return err
	}
	if c.taken >= streamWindow/4 {
		c.out = frame.AppendWindowUpdate(c.out, 0, c.taken)
		c.out = frame.AppendWindowUpdate(c.out, theStream, c.taken)
		c.taken = 0
	}
	return nil
}

func (c *conn) frame(f frame.Frame, each func([]byte) error) error {
	switch f.Type {
	case frame.Data:
		if f.Flags&frame.Padded != 0 {
			return errors.New("got padded DATA, want what gRPC servers send")
		}
		c.taken += len(f.Payload)
		c.ended = c.ended || f.Flags&frame.EndStream != 0
		return c.data(f.Payload, each)
	case frame.Headers:
		return c.head(f)
	case frame.Settings:
		if f.Flags&frame.Ack != 0 {
			return nil
		}
		for p := f.Payload; len(p) >= 6; p = p[6:] {
			if binary.BigEndian.Uint16(p) == 4 { // SETTINGS_INITIAL_WINDOW_SIZE, RFC 9113, 6.9.2
				now := int(binary.BigEndian.Uint32(p[2:]))
				c.streamWindow, c.initial = c.streamWindow+now-c.initial, now
			}
		}
		c.out = frame.Append(c.out, frame.Settings, frame.Ack, 0, nil)
	case frame.Ping:
		if f.Flags&frame.Ack == 0 {
			c.out = frame.Append(c.out, frame.Ping, frame.Ack, 0, f.Payload)
		}
	case frame.WindowUpdate:
		if len(f.Payload) != 4 {
			return errors.New("got a WINDOW_UPDATE that is not four bytes")
		}
		if n := int(binary.BigEndian.Uint32(f.Payload)); f.Stream == 0 {
			c.window += n
		} else {
			c.streamWindow += n
		}
	case frame.RSTStream:
		return fmt.Errorf("the server reset the stream with %x", f.Payload)
	case frame.GoAway:
		return fmt.Errorf("the server goes away: %q", f.Payload)
	case frame.Continuation:
		return errors.New("got CONTINUATION, want headers of one frame")
	}
	return nil
}

// buffers are for messages that come in several frames. There is one for each that is on its way, and not for each proxy.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// data cuts messages out of DATA. One that is whole in a frame is not copied.
func (c *conn) data(p []byte, each func([]byte) error) error {
	for len(p) > 0 {
		if c.message == nil {
			if n, ok := length(p); ok && len(p) >= n {
				if err := each(p[5:n]); err != nil {
					return err
				}
				p = p[n:]
				continue
			}
			c.message = buffers.Get().(*[]byte)
		}
		m := *c.message
		want := 5
		if n, ok := length(m); ok {
			want = n
		}
		if want > maxMessage {
			return fmt.Errorf("got a message of %d bytes, want at most %d", want, maxMessage)
		}
		n := min(len(p), want-len(m))
		m, p = append(slices.Grow(m, want-len(m)), p[:n]...), p[n:]
		*c.message = m
		if n, ok := length(m); !ok || len(m) < n {
			continue
		}
		err := each(m[5:])
		*c.message = m[:0]
		buffers.Put(c.message)
		c.message = nil
		if err != nil {
			return err
		}
	}
	return nil
}

// length is that of a message with its prefix, if the prefix is there.
func length(p []byte) (int, bool) {
	if len(p) < 5 {
		return 0, false
	}
	return 5 + int(binary.BigEndian.Uint32(p[1:])), true
}

func (c *conn) head(f frame.Frame) error {
	if f.Flags&frame.EndHeaders == 0 || f.Flags&(frame.Padded|frame.Priority) != 0 {
		return errors.New("got headers with padding, priority or continuation, want what gRPC servers send")
	}
	// The second may refer to what the first put into the table: they are read together, and only if they matter.
	c.blocks = append(c.blocks, f.Payload...)
	c.ended = c.ended || f.Flags&frame.EndStream != 0
	return nil
}

// status is what the server said in its headers and trailers.
func (c *conn) status() string {
	var said []string
	fields, err := hpack.NewDecoder(4096, nil).DecodeFull(c.blocks)
	if err != nil {
		return err.Error()
	}
	for _, f := range fields {
		said = append(said, f.Name+"="+f.Value)
	}
	return strings.Join(said, " ")
}
