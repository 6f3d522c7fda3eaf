// Package http1 is HTTP/1.1's codec (RFC 9112), both sides: a strict parser, a serializer, and the loops that connect
// them to a connection.
//
// In: bytes. Out: message heads, bodies and trailers, and failures. The parser (RequestParser, ResponseParser, Body) is
// pure: it is handed bytes, takes them up wherever the last ones ended, and never reads a socket, so that the I/O around
// it can be replaced. What is written comes from the parsed form, never from the bytes that came in. It must not know
// where a request goes, nor what a configuration is.
package http1
