package http1

import (
	"bytes"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// maxChunkLine limits a chunk's size, extensions and line end, in bytes. Extensions are skipped: who sends many makes
// us work for nothing.
const maxChunkLine = 256

// Body takes the framing off a body (RFC 9112, 6 and 7). It is resumable, byte by byte.
type Body struct {
	// Trailer is filled when a chunked body is done. Its strings are its own.
	Trailer message.Header

	framing Framing
	limits  Limits
	state   bodyState
	// left is what is left of the body, or of the chunk.
	left int64
	// digits and lineBytes are of the chunk-size line; digits stays if the size is 0.
	digits, lineBytes int
	// section is the trailer section so far.
	section []byte
	scanned int
}

type bodyState uint8

const (
	bodyDone bodyState = iota
	bodyData
	bodyUntilClose
	chunkSize
	chunkSpace
	chunkExtension
	chunkQuoted
	chunkQuotedEscape
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
)

// Reset gets ready for a body; length counts for FramedLength.
func (b *Body) Reset(framing Framing, length int64, limits Limits) {
	limits.setDefaults()
	*b = Body{framing: framing, limits: limits, section: b.section[:0]}
	switch framing {
	case FramedLength:
		b.left = length
		if length > 0 {
			b.state = bodyData
		}
	case FramedClose:
		b.state = bodyUntilClose
	case FramedChunked:
		b.state = chunkSize
	}
}

// Done tells whether the body is whole. A body until the close never is.
func (b *Body) Done() bool { return b.state == bodyDone }

// Direct is how many bytes to come are the body's own without framing between them, so that they can be read to where
// they are wanted; -1 is all there are, 0 is that Parse must see the next ones. Took tells how many were.
func (b *Body) Direct() int64 {
	switch b.state {
	case bodyData, chunkData:
		return b.left
	case bodyUntilClose:
		return -1
	}
	return 0
}

// Took counts bytes that did not go through Parse, Direct of them at most.
func (b *Body) Took(n int64) {
	if b.state == bodyUntilClose {
		return
	}
	if b.left -= n; b.left == 0 {
		if b.state == chunkData {
			b.state = chunkDataCR
		} else {
			b.state = bodyDone
		}
	}
}

// Parse takes bytes of the body up: n of src are used, and data, a part of them, is the body's own. When it returns no
// data, either the body is done or n is len(src). The violation's kind says nothing.
func (b *Body) Parse(src []byte) (data []byte, n int, v *violation) {
	for n < len(src) {
		switch b.state {
		case bodyDone:
			return nil, n, nil
		case bodyUntilClose:
			return src[n:], len(src), nil
		case bodyData, chunkData:
			size := len(src) - n
			if int64(size) > b.left {
				size = int(b.left)
			}
			data = src[n : n+size]
			b.Took(int64(size))
			return data, n + size, nil
		case chunkTrailer:
			used, v := b.trailer(src[n:])
			n += used
			if v != nil {
				return nil, n, v
			}
		default:
			if v := b.chunkByte(src[n]); v != nil {
				return nil, n, v
			}
			n++
		}
	}
	return nil, n, nil
}

// Skip takes up the framing at the beginning of src, up to where the body's own bytes go on or the body is done. So
// what is left in a buffer is known to be of the body. A violation is left for Parse to find again.
func (b *Body) Skip(src []byte) (n int) {
	for n < len(src) && b.state >= chunkSize && b.state != chunkData {
		if b.state == chunkTrailer {
			used, v := b.trailer(src[n:])
			if n += used; v != nil {
				return n
			}
			continue
		}
		if b.chunkByte(src[n]) != nil {
			return n
		}
		n++
	}
	return n
}

// chunkByte is chunk-size [ chunk-ext ] CRLF, and the CRLF after a chunk (RFC 9112, 7.1).
func (b *Body) chunkByte(c byte) *violation {
	if b.state != chunkDataCR && b.state != chunkDataLF {
		if b.lineBytes++; b.lineBytes > maxChunkLine {
			return bad("chunk-size line of more than %d bytes", maxChunkLine)
		}
	}
	switch b.state {
	case chunkSize:
		if classes[c]&classHex != 0 {
			if b.left >= 1<<59 {
				return bad("chunk of more than 2^63 bytes (RFC 9112, 7.1)")
			}
			b.left = b.left<<4 | int64(unhex(c))
			b.digits++
			return nil
		}
		if b.digits == 0 {
			return bad("chunk without a size (RFC 9112, 7.1)")
		}
		return b.afterSize(c)
	case chunkSpace:
		return b.afterSize(c)
	case chunkExtension, chunkQuoted, chunkQuotedEscape:
		return b.extension(c)
	case chunkSizeLF:
		if c != '\n' {
			return bad("chunk-size line does not end in CRLF (RFC 9112, 7.1)")
		}
		if b.state = chunkData; b.left == 0 {
			b.state = chunkTrailer
		}
		b.digits, b.lineBytes = 0, 0
	case chunkDataCR:
		if c != '\r' {
			return bad("chunk does not end in CRLF (RFC 9112, 7.1)")
		}
		b.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return bad("chunk does not end in CRLF (RFC 9112, 7.1)")
		}
		b.state = chunkSize
	}
	return nil
}

// afterSize is what may follow a chunk's size: its line's end, or an extension, before which white space is bad but
// to be read (RFC 9112, 7.1.1). White space before the line's end is not.
func (b *Body) afterSize(c byte) *violation {
	switch {
	case c == ';':
		b.state = chunkExtension
	case c == ' ' || c == '\t':
		b.state = chunkSpace
	case c == '\r' && b.state == chunkSize:
		b.state = chunkSizeLF
	default:
		return bad("malformed chunk size (RFC 9112, 7.1)")
	}
	return nil
}

// extension skips chunk extensions. A quoted string that does not end before the line does is refused: who reads on in it
// sees other chunks (RFC 9112, 7.1.1).
func (b *Body) extension(c byte) *violation {
	switch {
	case c == '\r' && b.state == chunkExtension:
		b.state = chunkSizeLF
	case c < ' ' && c != '\t' || c == 0x7f:
		return bad("control byte in a chunk extension (RFC 9112, 7.1.1)")
	case b.state == chunkQuotedEscape:
		b.state = chunkQuoted
	case b.state == chunkQuoted && c == '\\':
		b.state = chunkQuotedEscape
	case b.state == chunkQuoted && c == '"':
		b.state = chunkExtension
	case b.state == chunkExtension && c == '"':
		b.state = chunkQuoted
	}
	return nil
}

// trailer gathers the trailer section, and parses it when it is whole (RFC 9112, 7.1.2).
func (b *Body) trailer(src []byte) (int, *violation) {
	for n, c := range src {
		b.section = append(b.section, c)
		if len(b.section) > b.limits.HeaderBytes {
			return n, bad("trailers of more than %d bytes", b.limits.HeaderBytes)
		}
		if c != '\n' {
			continue
		}
		line := b.section[b.scanned:]
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return n, bad("line feed without carriage return (RFC 9112, 2.2)")
		}
		b.scanned = len(b.section)
		if len(line) == 2 {
			b.state = bodyDone
			return n + 1, nil
		}
		if len(b.Trailer) >= b.limits.HeaderCount {
			return n, bad("more than %d trailers", b.limits.HeaderCount)
		}
		name, value, v := splitField(bytes.TrimSuffix(line, crlf))
		if v != nil {
			return n, v
		}
		if forbiddenTrailer(name) {
			return n, bad("trailer %s (RFC 9110, 6.5.1)", strings.ToLower(name))
		}
		b.Trailer.Add(strings.Clone(name), strings.Clone(value))
	}
	return len(src), nil
}

var crlf = []byte("\r\n")

// lateFields come too late in a trailer (RFC 9110, 6.5.1): they frame or route a message, say who sends it or how it is to
// be handled, or describe the content that was there already. Who would heed them would see another message.
var lateFields = [...]string{
	"host", "content-length", "transfer-encoding", "connection", "trailer", "te", "upgrade", "keep-alive", "proxy-connection",
	"authorization", "proxy-authorization", "cookie", "set-cookie",
	"cache-control", "expect", "max-forwards", "range",
	"content-encoding", "content-type", "content-range",
	"forwarded", "x-real-ip", "x-request-id",
}

// latePrefixes are what proxies say, and no one else may.
var latePrefixes = [...]string{"x-forwarded-", "x-envoy-"}

func forbiddenTrailer(name string) bool {
	for _, f := range lateFields {
		if message.EqualName(name, f) {
			return true
		}
	}
	for _, p := range latePrefixes {
		if len(name) >= len(p) && message.EqualName(name[:len(p)], p) {
			return true
		}
	}
	return false
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

// untake gives back the last n bytes of data that Parse has just returned: they will be parsed again.
func (b *Body) untake(n int64) {
	switch b.state {
	case bodyDone:
		b.state = bodyData
	case chunkDataCR:
		b.state = chunkData
	}
	if b.state != bodyUntilClose {
		b.left += n
	}
}
