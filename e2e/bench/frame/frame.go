// Package frame is as much of HTTP/2 as the load and the origin of the benchmarks need: frames cut out of bytes, and
// header blocks that are always the same.
//
// In: bytes of a connection. Out: frames (RFC 9113, 4.1), and header blocks (RFC 7541) of fixed bytes. It must not know who is client and who is server.
package frame

import (
	"encoding/binary"
	"fmt"
)

// The types of frames, RFC 9113, section 6.
const (
	Data         = 0x0
	Headers      = 0x1
	RSTStream    = 0x3
	Settings     = 0x4
	Ping         = 0x6
	GoAway       = 0x7
	WindowUpdate = 0x8
	Continuation = 0x9
)

// The flags of frames.
const (
	EndStream  = 0x1
	Ack        = 0x1 // of Settings and Ping
	EndHeaders = 0x4
	Padded     = 0x8
	Priority   = 0x20
)

// Preface is what a client says first.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame is one; Payload belongs to the reader's buffer.
type Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// Append appends a frame.
func Append(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// AppendWindowUpdate appends one of a stream, or of the connection (0).
func AppendWindowUpdate(b []byte, stream uint32, n int) []byte {
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], uint32(n))
	return Append(b, WindowUpdate, 0, stream, p[:])
}

// AppendSetting appends a SETTINGS frame with one setting.
func AppendSetting(b []byte, id uint16, value uint32) []byte {
	var p [6]byte
	binary.BigEndian.PutUint16(p[:], id)
	binary.BigEndian.PutUint32(p[2:], value)
	return Append(b, Settings, 0, 0, p[:])
}

// Reader cuts frames out of what comes.
type Reader struct{ rest []byte }

// maxPayload is larger than any that the peers may send: nobody here raises SETTINGS_MAX_FRAME_SIZE.
const maxPayload = 1 << 14

// Each calls a function with each frame that is whole.
func (r *Reader) Each(data []byte, f func(Frame) error) error {
	if len(r.rest) > 0 {
		r.rest = append(r.rest, data...)
		data = r.rest
	}
	for len(data) >= 9 {
		n := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
		if n > maxPayload {
			return fmt.Errorf("frame: %d bytes, want at most %d", n, maxPayload)
		}
		if len(data) < 9+n {
			break
		}
		err := f(Frame{Type: data[3], Flags: data[4], Stream: binary.BigEndian.Uint32(data[5:]) & (1<<31 - 1), Payload: data[9 : 9+n]})
		if err != nil {
			return err
		}
		data = data[9+n:]
	}
	// data may lie in rest: the copy goes to the front.
	r.rest = append(r.rest[:0], data...)
	return nil
}

// Block is a header block that puts nothing into the dynamic table, and needs nothing of it: good for any stream.
func Block(pairs ...string) []byte {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, 0) // literal without indexing, new name: RFC 7541, 6.2.2
		b = appendString(b, pairs[i])
		b = appendString(b, pairs[i+1])
	}
	return b
}

// OK is :status 200, RFC 7541, appendix A.
const OK = 0x88

func appendString(b []byte, s string) []byte {
	if len(s) >= 127 {
		panic("frame: a string of 127 bytes or more")
	}
	return append(append(b, byte(len(s))), s...)
}

// Blocks are header blocks as clients and servers really send them: the first puts each pair into the dynamic table, and
// those that come later only name the entries. Both are for one connection, and nothing else may be indexed on it.
func Blocks(pairs ...string) (first, later []byte) {
	n := len(pairs) / 2
	for i := range n {
		first = append(first, 0x40) // literal with incremental indexing, new name: RFC 7541, 6.2.1
		first = appendString(first, pairs[2*i])
		first = appendString(first, pairs[2*i+1])
		later = append(later, 0x80|byte(62+n-1-i)) // the newest entry is 62, after the 61 static ones: 2.3.3
	}
	return first, later
}
