// Package http2 speaks HTTP/2 on both sides: ServeConn turns a client's connection into streams, ClientConn carries
// exchanges to an upstream.
//
// In: a net.Conn on which HTTP/2 was agreed (ALPN, or prior knowledge). Out: message heads, bodies and trailers, and
// failures. It must not know where a request goes, nor what a configuration is.
//
// Both are our own cores over the Framer of golang.org/x/net/http2 and its HPACK decoder: fields keep their order and
// number, trailers need no announcement, and a served connection drains in the two steps of RFC 9113, 6.8. One goroutine
// reads a connection's frames and acts on them where it reads them; who has something to send gathers it in one buffer
// under the connection's lock, and whoever flushes sends what all have gathered, in one write. The server's handlers run
// in workers that are used again; a client's exchange needs no goroutine but its caller's. What a stranger can make grow
// or repeat has a limit: patience.go (floods), fieldReader.write (field sections), maxControl (answers that are not
// read), gatherLimit (bytes to be sent), the windows (bytes to be read), MaxConcurrentStreams (handlers, those of streams
// that were reset included), maxEarly (1xx).
package http2

import "strings"

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

// trailersOnly tells whether a TE field lists "trailers", the one value that HTTP/2 knows (RFC 9113, 8.2.2).
func trailersOnly(value string) bool {
	for token := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(token, " \t"), "trailers") {
			return true
		}
	}
	return false
}
