package load

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluice-proxy/sluice/e2e/bench/frame"
)

// HTTP2 keeps a number of streams busy on each connection.
type HTTP2 struct {
	Streams int
	// Fields are the request's, with pseudo-headers first: names and values in turn.
	Fields []string
	// Body is the request's, may be nil, and fits into one frame.
	Body []byte
	// Size is how many bytes of DATA an answer must have.
	Size int
}

// GetFields are those of a GET.
func GetFields(host, path string) []string {
	return []string{":method", "GET", ":scheme", "https", ":authority", host, ":path", path, "user-agent", "bench", "accept", "*/*"}
}

// GRPCFields are those of a unary call.
func GRPCFields(host string) []string {
	return []string{
		":method", "POST", ":scheme", "https", ":authority", host, ":path", "/bench.Bench/Unary",
		"te", "trailers", "content-type", "application/grpc", "user-agent", "bench",
	}
}

func (k HTTP2) session(by counter) session {
	s := &http2{by: by, kind: k, next: 1, window: 65535, got: map[uint32]int{}}
	s.block, s.later = frame.Blocks(k.Fields...)
	s.out = append(s.out, frame.Preface...)
	s.out = frame.AppendSetting(s.out, 4, 1<<20) // SETTINGS_INITIAL_WINDOW_SIZE
	s.out = frame.AppendWindowUpdate(s.out, 0, 1<<28)
	return s
}

type http2 struct {
	by     counter
	kind   HTTP2
	reader frame.Reader
	// block is the next request's, later that of those after it.
	block, later []byte
	next         uint32
	window       int // what may be sent on the connection
	wanted       int // streams that wait for it
	// got are the bytes of DATA of each stream in flight; -1 before its head.
	got      map[uint32]int
	received int // bytes of DATA that the peer has not been told of
	out      []byte
}

func (h *http2) start(t transport) error {
	h.wanted += h.kind.Streams
	h.begin()
	return h.flush(t)
}

// begin begins the streams that are wanted, as far as the window lets it.
func (h *http2) begin() {
	for h.wanted > 0 && h.window >= len(h.kind.Body) {
		h.wanted--
		h.by.sent()
		flags := byte(frame.EndHeaders)
		if h.kind.Body == nil {
			flags |= frame.EndStream
		}
		h.out = frame.Append(h.out, frame.Headers, flags, h.next, h.block)
		if h.kind.Body != nil {
			h.out = frame.Append(h.out, frame.Data, frame.EndStream, h.next, h.kind.Body)
			h.window -= len(h.kind.Body)
		}
		h.block = h.later
		h.got[h.next] = -1
		h.next += 2
	}
}

func (h *http2) flush(t transport) error {
	if len(h.out) == 0 {
		return nil
	}
	// Sockets take so little at once; should one not, the rest is copied.
	_, err := writeCopy(t, h.out)
	h.out = h.out[:0]
	return err
}

func (h *http2) data(t transport, p []byte) error {
	if err := h.reader.Each(p, h.frame); err != nil {
		return err
	}
	if h.received > 1<<20 {
		h.out = frame.AppendWindowUpdate(h.out, 0, h.received)
		h.received = 0
	}
	h.begin()
	return h.flush(t)
}

func (h *http2) frame(f frame.Frame) error {
	switch f.Type {
	case frame.Headers:
		return h.headers(f)
	case frame.Data:
		got, ok := h.got[f.Stream]
		if !ok || got < 0 || f.Flags&frame.Padded != 0 {
			return fmt.Errorf("stream %d: DATA that cannot be", f.Stream)
		}
		h.received += len(f.Payload)
		h.got[f.Stream] = got + len(f.Payload)
		if f.Flags&frame.EndStream != 0 {
			return h.end(f.Stream)
		}
	case frame.Settings:
		if f.Flags&frame.Ack == 0 {
			h.out = frame.Append(h.out, frame.Settings, frame.Ack, 0, nil)
		}
	case frame.Ping:
		if f.Flags&frame.Ack == 0 {
			h.out = frame.Append(h.out, frame.Ping, frame.Ack, 0, f.Payload)
		}
	case frame.WindowUpdate:
		if f.Stream == 0 && len(f.Payload) == 4 {
			h.window += int(binary.BigEndian.Uint32(f.Payload))
		}
	case frame.RSTStream:
		return fmt.Errorf("stream %d: reset with %x", f.Stream, f.Payload)
	case frame.GoAway:
		return fmt.Errorf("GOAWAY %x", f.Payload)
	case frame.Continuation:
		return errors.New("CONTINUATION: the headers are too large for this load")
	}
	return nil
}

func (h *http2) headers(f frame.Frame) error {
	got, ok := h.got[f.Stream]
	if !ok {
		return fmt.Errorf("stream %d: headers that cannot be", f.Stream)
	}
	if got < 0 {
		block := f.Payload
		for len(block) > 0 && block[0]&0xe0 == 0x20 { // a change of the table's size, RFC 7541, 6.3
			long := block[0]&0x1f == 0x1f
			for block = block[1:]; long && len(block) > 0; block = block[1:] {
				long = block[0]&0x80 != 0
			}
		}
		if f.Flags&(frame.Padded|frame.Priority) != 0 || len(block) == 0 || block[0] != frame.OK {
			return fmt.Errorf("stream %d: headers %x, want status 200", f.Stream, f.Payload)
		}
		h.got[f.Stream] = 0
	}
	if f.Flags&frame.EndStream != 0 {
		return h.end(f.Stream)
	}
	return nil
}

func (h *http2) end(stream uint32) error {
	if got := h.got[stream]; got != h.kind.Size {
		return fmt.Errorf("stream %d: a body of %d bytes, want %d", stream, got, h.kind.Size)
	}
	delete(h.got, stream)
	if h.by.answered() {
		h.wanted++
	}
	return nil
}
