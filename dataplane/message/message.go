// Package message holds the heads of HTTP messages as flat lists: what codecs produce and the request walk reads.
//
// It must not know how a message travels (http1, http2) or where it goes (route, upstream).
//
// Strings may point into a codec's pooled buffer: they are valid until the exchange ends. Who keeps one clones it
// (strings.Clone).
package message

import "strings"

// Field is one header line. Name keeps its spelling; compare with EqualName. Value has no white space around it.
type Field struct {
	Name  string
	Value string
}

// Header is a flat list in the order received. No map: messages are short, and order and spelling are kept.
type Header []Field

// Proto is the version of HTTP that a message travelled by.
type Proto uint8

// The versions.
const (
	HTTP10 Proto = iota
	HTTP11
	HTTP2
)

// String is as access logs write it: "HTTP/1.1".
func (p Proto) String() string {
	switch p {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP2:
		return "HTTP/2"
	default:
		return "HTTP/1.1"
	}
}

// Request is a request's head. HTTP/1's Host and HTTP/2's pseudo-headers stand in the fields, never in Header.
type Request struct {
	Proto  Proto
	Method string
	// Scheme is "http" or "https", by the connection; absolute-form and :scheme must agree with Host and :authority.
	Scheme string
	// Authority is the host, with the port if the client wrote one.
	Authority string
	// Path is the path with its query, from '/' on; "*" for OPTIONS *.
	Path   string
	Header Header
	// ContentLength is the body's bytes; 0 is no body, -1 is not known (chunked, or HTTP/2 without the header).
	ContentLength int64
	// Trailer is filled when the body has ended.
	Trailer Header
	// Upgrade is the protocol that is to be spoken after a 101 (RFC 9110, 7.8); empty is none. It stands in Header only as
	// the client wrote it.
	Upgrade string
}

// GRPC tells whether it is a call of gRPC, as Envoy does: the content type is application/grpc, or begins with
// application/grpc+. Several lines are one, joined by commas.
func (r *Request) GRPC() bool {
	const grpc = "application/grpc"
	value, lines := "", 0
	for i := range r.Header {
		if f := &r.Header[i]; EqualName(f.Name, "content-type") {
			if lines == 0 {
				value = f.Value
			}
			lines++
		}
	}
	after, ok := strings.CutPrefix(value, grpc)
	return ok && (after == "" && lines == 1 || strings.HasPrefix(after, "+"))
}

// Response is a response's head.
type Response struct {
	Proto  Proto
	Status int
	// Reason is HTTP/1's phrase; empty is the standard one.
	Reason string
	Header Header
	// ContentLength is the body's bytes; 0 is no body, -1 is until the end of the stream.
	ContentLength int64
	// Trailer is filled when the body has ended.
	Trailer Header
}

// EqualName compares field names, ASCII case aside.
func EqualName(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// Get is the first value of a name.
func (h Header) Get(name string) (string, bool) {
	for i := range h {
		if EqualName(h[i].Name, name) {
			return h[i].Value, true
		}
	}
	return "", false
}

// Has tells whether a name is there.
func (h Header) Has(name string) bool {
	_, ok := h.Get(name)
	return ok
}

// Joined is all values of a name, joined by ",", as Envoy's matchers see them.
func (h Header) Joined(name string) (string, bool) {
	var value string
	found := false
	for i := range h {
		if !EqualName(h[i].Name, name) {
			continue
		}
		if found {
			value += "," + h[i].Value
		} else {
			value, found = h[i].Value, true
		}
	}
	return value, found
}

// Add appends a line.
func (h *Header) Add(name, value string) {
	*h = append(*h, Field{Name: name, Value: value})
}

// Set replaces the first line of a name, drops its others, or appends it.
func (h *Header) Set(name, value string) {
	set := false
	kept := (*h)[:0]
	for _, f := range *h {
		if EqualName(f.Name, name) {
			if set {
				continue
			}
			f.Value, set = value, true
		}
		kept = append(kept, f)
	}
	if !set {
		kept = append(kept, Field{Name: name, Value: value})
	}
	*h = kept
}

// Del drops all lines of a name.
func (h *Header) Del(name string) {
	kept := (*h)[:0]
	for _, f := range *h {
		if !EqualName(f.Name, name) {
			kept = append(kept, f)
		}
	}
	*h = kept
}
