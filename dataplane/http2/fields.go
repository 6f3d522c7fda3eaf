package http2

import (
	"fmt"
	"strings"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// section is what a field section belongs to; each has its pseudo-fields (RFC 9113, 8.1 and 8.3).
type section uint8

const (
	requestSection section = iota
	responseSection
	trailerSection
)

// Pseudo-fields, and Host, that have been seen.
const (
	sawMethod = 1 << iota
	sawScheme
	sawAuthority
	sawPath
	sawStatus
	sawProtocol
	sawHost
)

// malformed is why a message is refused.
type malformed struct {
	// polite: the message is understood, and its sender is told by an answer (400). Else it is not HTTP at all, and its
	// stream is reset with PROTOCOL_ERROR (RFC 9113, 8.1.1).
	polite bool
	text   string
}

func (m *malformed) Error() string { return m.text }

func broken(format string, args ...any) *malformed {
	return &malformed{text: fmt.Sprintf(format, args...)}
}

func refusal(format string, args ...any) *malformed {
	return &malformed{polite: true, text: fmt.Sprintf(format, args...)}
}

// fieldReader turns field sections into messages. HPACK has state, so that there is one for a connection, and every
// section that comes goes through it, wanted or not. Only the goroutine that reads frames uses it.
type fieldReader struct {
	// Read-only. maxBytes limits a section as RFC 9113, 10.5.1 counts it, maxCount its fields; 0 is no limit of count.
	maxBytes, maxCount int

	decoder *hpack.Decoder

	// Of the section that is being read.
	section section
	// fragments and encoded count what came of it: frames and bytes.
	fragments, encoded int
	// size and count are of the fields; over: they exceed a limit, and none is kept any more.
	size, count int
	over        bool
	// regular: a field that is no pseudo-field came. crumbs are Cookie fields.
	regular bool
	crumbs  int
	saw     uint8
	// connect: extended CONNECT is offered (RFC 8441), and :protocol may come. Read-only.
	connect bool
	host    string
	why     *malformed
	fields  message.Header

	// Pseudo-fields.
	method, scheme, authority, path, status, protocol string
	// declared is what Content-Length says, for request and response; -1 is nothing. DATA must agree (RFC 9113, 8.1.1).
	declared int64
}

// defaultHeaderBytes is Envoy's max_request_headers_kb.
const defaultHeaderBytes = 60 << 10

// newFieldReader takes the limits of a section; 0 bytes is defaultHeaderBytes.
func newFieldReader(maxBytes, maxCount int) *fieldReader {
	if maxBytes <= 0 {
		maxBytes = defaultHeaderBytes
	}
	r := &fieldReader{maxBytes: maxBytes, maxCount: maxCount}
	r.decoder = hpack.NewDecoder(tableSize, r.emit)
	return r
}

// begin starts a section. Its fields are appended to what into has room for.
func (r *fieldReader) begin(s section, into message.Header) {
	r.section = s
	r.fragments, r.encoded, r.size, r.count, r.crumbs = 0, 0, 0, 0, 0
	r.over, r.regular, r.saw, r.why, r.host = false, false, 0, nil, ""
	r.fields = into[:0]
	r.method, r.scheme, r.authority, r.path, r.status, r.protocol = "", "", "", "", "", ""
	r.decoder.SetEmitEnabled(true)
}

// write takes the fragment of one HEADERS or CONTINUATION frame. An error is the connection's: after a section that
// was not decoded to its end HPACK's tables differ.
func (r *fieldReader) write(fragment []byte) error {
	r.fragments++
	r.encoded += len(fragment)
	// A section a little too large is decoded to its end, so that it can be answered with 431. One that goes on and on
	// (CVE-2024-27316, "CONTINUATION flood") ends the connection: no encoder makes a section larger than its fields, and
	// frames of 16 KiB carry it in few pieces, though nghttp2 sends, and takes, 8 for the smallest of limits.
	if r.encoded > 2*r.maxBytes+16<<10 || r.fragments > 8+r.maxBytes>>12 {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "field section without end"}
	}
	if _, err := r.decoder.Write(fragment); err != nil {
		return connectionError{xhttp2.ErrCodeCompression, err.Error()}
	}
	return nil
}

// end ends a section. tooLarge: it exceeds a limit, and what is kept of it is not all; else malformed may say what is
// wrong with its fields, one by one. The error is the connection's.
func (r *fieldReader) end() (tooLarge bool, why *malformed, err error) {
	if err := r.decoder.Close(); err != nil {
		return false, nil, connectionError{xhttp2.ErrCodeCompression, err.Error()}
	}
	return r.over, r.why, nil
}

// emit takes one field from the decoder.
func (r *fieldReader) emit(f hpack.HeaderField) {
	r.size += len(f.Name) + len(f.Value) + entryOverhead
	if r.size > r.maxBytes {
		r.stop()
		return
	}
	if r.why != nil {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		r.pseudo(f.Name, f.Value)
		return
	}
	r.regular = true
	if !lowerToken(f.Name) {
		r.why = broken("field name %q is not a token in lower case", f.Name)
		return
	}
	if !http1.ValidValue(f.Value) {
		r.why = broken("field %q: its value holds a control byte", f.Name)
		return
	}
	if r.special(f.Name, f.Value) {
		return
	}
	if r.count++; r.maxCount > 0 && r.count > r.maxCount {
		r.stop()
		return
	}
	r.fields = append(r.fields, message.Field{Name: f.Name, Value: f.Value})
}

// stop keeps no more fields: what is in the tables is followed to the end of the section, and nothing else.
func (r *fieldReader) stop() {
	r.over = true
	r.decoder.SetEmitEnabled(false)
}

// special looks at the fields that HTTP/2 has rules for; true if it shall not be kept.
func (r *fieldReader) special(name, value string) bool {
	if v := value; v != "" && (isBlank(v[0]) || isBlank(v[len(v)-1])) {
		// RFC 9113, 8.2.1.
		r.why = refusal("field %q: white space around its value", name)
		return true
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		// RFC 9113, 8.2.2.
		r.why = broken("field %q is about a connection of HTTP/1", name)
		return true
	case "te":
		if r.section == requestSection && !strings.EqualFold(value, "trailers") {
			r.why = broken("te is %q, want trailers", value)
			return true
		}
	case "host":
		if r.section != requestSection {
			break
		}
		if r.saw&sawHost != 0 {
			r.why = broken("two host fields")
		}
		r.saw |= sawHost
		r.host = value
		return true
	case "cookie":
		// One field may come as many crumbs (RFC 9113, 8.2.3): the limit of count is for what becomes of them.
		if r.section == requestSection {
			if r.crumbs++; r.crumbs > 1 {
				r.fields = append(r.fields, message.Field{Name: name, Value: value})
				return true
			}
		}
	}
	return r.section == trailerSection && forbiddenTrailer(name)
}

// forbiddenTrailer tells the fields that frame or route a message: in a trailer they come too late, and are there to
// mislead (RFC 9110, 6.5.1). They are dropped.
func forbiddenTrailer(name string) bool {
	switch name {
	case "host", "content-length", "trailer", "te":
		return true
	}
	return connectionField(name)
}

func (r *fieldReader) pseudo(name, value string) {
	var bit uint8
	var to *string
	switch {
	case r.section == requestSection && name == ":method":
		bit, to = sawMethod, &r.method
	case r.section == requestSection && name == ":scheme":
		bit, to = sawScheme, &r.scheme
	case r.section == requestSection && name == ":authority":
		bit, to = sawAuthority, &r.authority
	case r.section == requestSection && name == ":path":
		bit, to = sawPath, &r.path
	case r.section == requestSection && name == ":protocol" && r.connect:
		bit, to = sawProtocol, &r.protocol
	case r.section == responseSection && name == ":status":
		bit, to = sawStatus, &r.status
	default:
		r.why = broken("pseudo-field %q is not for this section", name)
		return
	}
	switch {
	case r.regular:
		r.why = broken("pseudo-field %q after other fields", name)
	case r.saw&bit != 0:
		r.why = broken("pseudo-field %q twice", name)
	case !http1.ValidValue(value):
		r.why = broken("pseudo-field %q: its value holds a control byte", name)
	}
	r.saw |= bit
	*to = value
}

// lowerToken tells whether a name may be a field's in HTTP/2: a token without upper case (RFC 9113, 8.2.1).
func lowerToken(name string) bool {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return http1.ValidName(name)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
