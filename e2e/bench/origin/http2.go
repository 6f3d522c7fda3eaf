package origin

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluice-proxy/sluice/e2e/bench/frame"
	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// reply is what every stream is answered with: payloads of frames. The first answer of a connection has other bytes than
// those after it, which name what it put into the dynamic table.
type reply struct {
	first, later headers
	// literal is for peers that want no dynamic table, as nginx.
	literal headers
	data    []byte
}

type headers struct{ head, trailers []byte } // trailers may be nil

func plainAnswer() reply {
	first, later := frame.Blocks("content-type", "text/plain", "content-length", "128")
	return reply{
		first: headers{head: ok(first)}, later: headers{head: ok(later)},
		literal: headers{head: ok(frame.Block("content-type", "text/plain", "content-length", "128"))},
		data:    Body(128),
	}
}

func ok(block []byte) []byte { return append([]byte{frame.OK}, block...) }

// GRPCMessage is a message of 128 bytes with gRPC's prefix.
func GRPCMessage() []byte {
	return append([]byte{0, 0, 0, 0, 128}, Body(128)...)
}

func grpcAnswer() reply {
	first, later := frame.Blocks("content-type", "application/grpc", "grpc-status", "0")
	// The second pair goes into the table with the first trailers.
	cut := len(first) - len("\x40\x0bgrpc-status\x010")
	return reply{
		first: headers{head: ok(first[:cut]), trailers: first[cut:]},
		// In between the first head is entry 62, and later 63: every head after the first trailers finds it there. A head
		// that goes before the first trailers cannot, and does not exist: an answer is written whole.
		later: headers{head: ok(later[:1]), trailers: later[1:]},
		literal: headers{
			head: ok(frame.Block("content-type", "application/grpc")), trailers: frame.Block("grpc-status", "0"),
		},
		data: GRPCMessage(),
	}
}

// http2 is one connection. It decodes no header: what is asked does not matter, and so its dynamic table neither.
type http2 struct {
	reply   reply
	begun   bool // the first answer is written
	literal bool // the peer wants no dynamic table
	reader  frame.Reader
	preface int // bytes of the preface that have come
	// window is what may be sent on the connection; waiting are streams that wait for it.
	window  int
	waiting []uint32
	got     int // bytes of DATA that the peer has not been told of
	out     []byte
	written []byte // what the loop may still be writing
}

func newHTTP2(r reply) *http2 { return &http2{reply: r, window: 65535} }

func (h *http2) Readable(c *loop.Conn) error {
	n, err := c.Read(scratch[:])
	if err == loop.Again {
		return nil
	}
	if err != nil {
		return err
	}
	data := scratch[:n]
	if h.preface < len(frame.Preface) {
		m := min(n, len(frame.Preface)-h.preface)
		if string(data[:m]) != frame.Preface[h.preface:h.preface+m] {
			return errors.New("origin: not HTTP/2")
		}
		if h.preface == 0 {
			h.out = frame.AppendSetting(h.out, 3, 1000) // SETTINGS_MAX_CONCURRENT_STREAMS
			h.out = frame.AppendWindowUpdate(h.out, 0, 1<<24)
		}
		h.preface += m
		data = data[m:]
	}
	if err := h.reader.Each(data, h.frame); err != nil {
		return err
	}
	if h.got > 1<<15 {
		h.out = frame.AppendWindowUpdate(h.out, 0, h.got)
		h.got = 0
	}
	if len(h.out) == 0 {
		return nil
	}
	if c.Pending() { // the peer reads slowly: the loop holds slices of what came before
		_, err = c.Write(append([]byte(nil), h.out...))
	} else {
		h.written = append(h.written[:0], h.out...)
		_, err = c.Write(h.written)
	}
	h.out = h.out[:0]
	return err
}

func (h *http2) Closed(*loop.Conn, error) {}

func (h *http2) frame(f frame.Frame) error {
	switch f.Type {
	case frame.Headers:
		if f.Flags&frame.EndStream != 0 {
			h.answer(f.Stream)
		}
	case frame.Data:
		h.got += len(f.Payload)
		if f.Flags&frame.EndStream != 0 {
			h.answer(f.Stream)
		}
	case frame.Settings:
		if f.Flags&frame.Ack == 0 {
			h.settings(f.Payload)
			h.out = frame.Append(h.out, frame.Settings, frame.Ack, 0, nil)
		}
	case frame.Ping:
		if f.Flags&frame.Ack == 0 {
			h.out = frame.Append(h.out, frame.Ping, frame.Ack, 0, f.Payload)
		}
	case frame.WindowUpdate:
		if f.Stream != 0 { // an answer fits into any stream's window
			return nil
		}
		if len(f.Payload) != 4 {
			return fmt.Errorf("origin: a WINDOW_UPDATE of %d bytes", len(f.Payload))
		}
		h.window += int(binary.BigEndian.Uint32(f.Payload))
		for len(h.waiting) > 0 && h.window >= len(h.reply.data) {
			stream := h.waiting[0]
			h.waiting = append(h.waiting[:0], h.waiting[1:]...)
			h.answer(stream)
		}
	}
	return nil
}

// settings looks for SETTINGS_HEADER_TABLE_SIZE, RFC 9113, 6.5.2: less than the default of 4096 is not made use of.
func (h *http2) settings(p []byte) {
	for ; len(p) >= 6; p = p[6:] {
		if binary.BigEndian.Uint16(p) == 1 {
			h.literal = binary.BigEndian.Uint32(p[2:]) < 4096
		}
	}
}

func (h *http2) answer(stream uint32) {
	if h.window < len(h.reply.data) {
		h.waiting = append(h.waiting, stream)
		return
	}
	h.window -= len(h.reply.data)
	fields := h.reply.later
	switch {
	case h.literal:
		fields = h.reply.literal
	case !h.begun:
		h.begun, fields = true, h.reply.first
	}
	h.out = frame.Append(h.out, frame.Headers, frame.EndHeaders, stream, fields.head)
	if fields.trailers == nil {
		h.out = frame.Append(h.out, frame.Data, frame.EndStream, stream, h.reply.data)
		return
	}
	h.out = frame.Append(h.out, frame.Data, 0, stream, h.reply.data)
	h.out = frame.Append(h.out, frame.Headers, frame.EndHeaders|frame.EndStream, stream, fields.trailers)
}
