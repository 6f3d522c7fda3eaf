package http1

import (
	"bytes"
	"fmt"
	"strings"
	"unsafe"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Limits are on what the other side can make grow.
type Limits struct {
	// HeaderBytes limits a head: its line, its fields, and their line ends; and a trailer section, apart.
	HeaderBytes int
	// HeaderCount limits the number of fields of a head; and of a trailer section.
	HeaderCount int
}

// The limits if none are given: Envoy's.
const (
	DefaultHeaderBytes = 60 << 10
	DefaultHeaderCount = 100
)

func (l *Limits) setDefaults() {
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = DefaultHeaderBytes
	}
	if l.HeaderCount <= 0 {
		l.HeaderCount = DefaultHeaderCount
	}
}

// violation is a breach of the protocol, without a side: the parsers for requests and for answers name it.
type violation struct {
	// kind is for requests; in answers all are failure.BadResponse.
	kind failure.Kind
	text string
}

func bad(format string, args ...any) *violation {
	return &violation{kind: failure.BadRequest, text: fmt.Sprintf(format, args...)}
}

// head is where the parser of a head stands. Strings of fields point into the bytes that were parsed.
type head struct {
	limits Limits
	// rejectUnderscores refuses names with an underscore.
	rejectUnderscores bool

	// base is where the bytes lay at the last call: if they have moved, the head is parsed anew.
	base *byte
	// line is where the current line begins; up to scanned it holds no line feed.
	line, scanned int
	// started is after the first line.
	started bool
	header  message.Header
	framing framing
}

func (h *head) reset() {
	h.base, h.line, h.scanned, h.started = nil, 0, 0, false
	h.header = h.header[:0]
	h.framing = framing{}
}

// resume gets ready for the bytes of the head so far, which begin with those of the last call.
func (h *head) resume(buf []byte) {
	if base := unsafe.SliceData(buf); base != h.base {
		h.reset()
		h.base = base
	}
}

// next is the next whole line without its end; ok is false if more bytes are needed.
func (h *head) next(buf []byte) (line []byte, ok bool, v *violation) {
	i := bytes.IndexByte(buf[h.scanned:], '\n')
	if i < 0 {
		h.scanned = len(buf)
		if len(buf) > h.limits.HeaderBytes {
			v = h.tooLarge()
		}
		return nil, false, v
	}
	i += h.scanned
	if i >= h.limits.HeaderBytes {
		return nil, false, h.tooLarge()
	}
	if i == h.line || buf[i-1] != '\r' {
		// RFC 9112, 2.2 lets a recipient take it for a line end; two recipients that differ in this can be set against each
		// other.
		return nil, false, bad("line feed without carriage return (RFC 9112, 2.2)")
	}
	line = buf[h.line : i-1]
	h.line, h.scanned = i+1, i+1
	return line, true, nil
}

func (h *head) tooLarge() *violation {
	if !h.started {
		// RFC 9112, 3: a target too long is 414.
		return &violation{failure.TargetTooLong, fmt.Sprintf("more than %d bytes of a line", h.limits.HeaderBytes)}
	}
	return &violation{failure.HeadersTooLarge, fmt.Sprintf("more than %d bytes", h.limits.HeaderBytes)}
}

// field parses a header line.
func (h *head) field(line []byte) *violation {
	if len(h.header) >= h.limits.HeaderCount {
		return &violation{failure.HeadersTooLarge, fmt.Sprintf("more than %d fields", h.limits.HeaderCount)}
	}
	name, value, v := splitField(line)
	if v != nil {
		return v
	}
	if h.rejectUnderscores && strings.IndexByte(name, '_') >= 0 {
		return bad("underscore in the name of a field")
	}
	keep, v := h.framing.note(name, value)
	if v != nil {
		return v
	}
	if keep {
		h.header = append(h.header, message.Field{Name: name, Value: value})
	}
	return nil
}

// splitField parses a field line (RFC 9112, 5).
func splitField(line []byte) (name, value string, v *violation) {
	i := 0
	for i < len(line) && classes[line[i]]&classToken != 0 {
		i++
	}
	if i == len(line) || line[i] != ':' || i == 0 {
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return "", "", bad("folded line (RFC 9112, 5.2)")
		case i == len(line):
			return "", "", bad("field without a colon (RFC 9112, 5)")
		case i > 0 && (line[i] == ' ' || line[i] == '\t'):
			return "", "", bad("white space in or after the name of a field (RFC 9112, 5.1)")
		default:
			return "", "", bad("name of a field is not a token (RFC 9110, 5.1)")
		}
	}
	rest := trim(line[i+1:])
	if !validValue(rest) {
		return "", "", bad("control byte in the value of field %q (RFC 9110, 5.5)", line[:i])
	}
	return view(line[:i]), view(rest), nil
}
