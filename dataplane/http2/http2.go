// Package http2 speaks HTTP/2 on both sides: ServeConn turns a client's connection into streams, ClientConn carries
// exchanges to an upstream.
//
// In: a net.Conn on which HTTP/2 was agreed (ALPN, or prior knowledge). Out: message heads, bodies and trailers, and
// failures. It must not know where a request goes, nor what a configuration is.
//
// The server is our own core over the Framer of golang.org/x/net/http2 and its HPACK decoder: fields keep their order and
// number, trailers need no announcement, and a connection drains in the two steps of RFC 9113, 6.8. One goroutine reads a
// connection's frames and acts on them where it reads them; handlers run in workers that are used again, and write for
// themselves: frames are gathered in one buffer under the connection's lock, and whoever flushes sends what all have
// gathered, in one write. What a stranger can make grow or repeat has a limit: patience.go (floods), fieldReader.write
// (field sections), maxControl (answers that are not read), gatherLimit (bytes to be sent), the windows (bytes to be
// read), MaxConcurrentStreams (handlers, those of streams that were reset included).
//
// The client's framing is still that of golang.org/x/net/http2: an answer's fields arrive in the order of their names,
// and a request's trailers travel only if its Trailer field names them.
package http2

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Preface is what a client that has prior knowledge of HTTP/2 sends first (RFC 9113, 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// connectionField tells the fields that are about an HTTP/1 connection: RFC 9113, 8.2.2 keeps them out of HTTP/2.
func connectionField(lower string) bool {
	switch lower {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// lower is a field's name as HTTP/2 spells it; it allocates only if it must.
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(name)
		}
	}
	return name
}

// flatten makes a list of a map: names in lower case and in order, since the map has forgotten the sender's.
func flatten(h http.Header) message.Header {
	if len(h) == 0 {
		return nil
	}
	names := make([]string, 0, len(h))
	n := 0
	for name, values := range h {
		names = append(names, name)
		n += len(values)
	}
	slices.Sort(names)
	flat := make(message.Header, 0, n)
	for _, name := range names {
		low := strings.ToLower(name)
		for _, value := range h[name] {
			flat = append(flat, message.Field{Name: low, Value: value})
		}
	}
	return flat
}

// own adds a field to a map that x/net may read when the exchange has ended, and its strings with it: message's strings
// point into buffers that are then used again.
func own(h http.Header, lower, value string) {
	name := http.CanonicalHeaderKey(strings.Clone(lower))
	h[name] = append(h[name], strings.Clone(value))
}

// trailerMap makes a map of trailers, without what must not be a trailer (RFC 9110, 6.5.1). prefix stands before each
// name.
func trailerMap(to http.Header, trailer message.Header, prefix string) {
	for _, f := range trailer {
		name := http.CanonicalHeaderKey(strings.Clone(f.Name))
		if connectionField(lower(f.Name)) || !httpguts.ValidTrailerHeader(name) ||
			!httpguts.ValidHeaderFieldName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			continue
		}
		to[prefix+name] = append(to[prefix+name], strings.Clone(f.Value))
	}
}

// declaredTrailers are the names in a Trailer field, in canonical spelling, without those that cannot be trailers.
func declaredTrailers(h message.Header) []string {
	var names []string
	for _, f := range h {
		if !message.EqualName(f.Name, "trailer") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			name = http.CanonicalHeaderKey(strings.Clone(strings.Trim(name, " \t")))
			if name != "" && httpguts.ValidTrailerHeader(name) && httpguts.ValidHeaderFieldName(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// trailersOnly tells whether a TE field lists "trailers", the one value that HTTP/2 knows (RFC 9113, 8.2.2).
func trailersOnly(value string) bool {
	for token := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(token, " \t"), "trailers") {
			return true
		}
	}
	return false
}

// blank gives every name one empty value, so that flatten lists the names.
func blank(h http.Header) http.Header {
	b := make(http.Header, len(h))
	for name := range h {
		b[name] = []string{""}
	}
	return b
}
