package http1

import (
	"errors"
	"net"
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

var (
	errInvalidField = errors.New("a field or line to be sent holds a byte that HTTP/1.1 does not allow")
	errLength       = errors.New("the body's length is not what its head said")
)

// writer serializes a message to a connection. What is small is gathered, so that head and body leave in one write.
type writer struct {
	conn net.Conn
	// vectored is conn if it writes several buffers in one system call, or nil.
	vectored *socket.Conn
	// buf is a pooled buffer, or nil.
	buf []byte
	err error

	// chunked frames Write; else left is how many bytes may follow, -1 for any.
	chunked bool
	left    int64
	// sent counts bytes of the body.
	sent int64
}

func (w *writer) init(conn net.Conn) {
	w.conn = conn
	w.vectored, _ = conn.(*socket.Conn)
}

func (w *writer) str(s string) { w.buf = append(w.buf, s...) }

// begin gets ready for a head.
func (w *writer) begin() {
	if w.buf == nil {
		w.buf = getBuffer()[:0]
	}
}

// field writes a header line, or refuses it.
func (w *writer) field(name, value string) error {
	if !ValidName(name) || !ValidValue(value) {
		return errInvalidField
	}
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, ": "...)
	w.buf = append(w.buf, value...)
	w.buf = append(w.buf, "\r\n"...)
	return nil
}

// fields writes those that are not about the connection.
func (w *writer) fields(h message.Header) error {
	for i := range h {
		if f := &h[i]; !aboutConnection(f.Name) {
			if err := w.field(f.Name, f.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// body gets ready for a body of a length, -1 for chunked.
func (w *writer) body(length int64) {
	w.chunked = length < 0
	w.left = length
	w.sent = 0
}

// Write sends a part of the body.
func (w *writer) write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !w.chunked && w.left >= 0 {
		if int64(len(p)) > w.left {
			// What is too much would be taken for the next message.
			w.err = errLength
			return 0, w.err
		}
		w.left -= int64(len(p))
	}
	w.sent += int64(len(p))
	w.begin()
	if w.chunked {
		w.buf = strconv.AppendInt(w.buf, int64(len(p)), 16)
		w.buf = append(w.buf, "\r\n"...)
	}
	if len(p)+2 <= cap(w.buf)-len(w.buf) {
		w.buf = append(w.buf, p...)
		if w.chunked {
			w.buf = append(w.buf, "\r\n"...)
		}
	} else if err := w.through(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// through writes what is gathered, p behind it, and the end of its chunk.
func (w *writer) through(p []byte) error {
	if w.vectored != nil && len(w.buf) > 0 {
		end := crlf
		if !w.chunked {
			end = nil
		}
		w.err = w.vectored.Writev(w.buf, p, end)
		w.buf = w.buf[:0]
		return w.err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, w.err = w.conn.Write(p); w.err == nil && w.chunked {
		w.buf = append(w.buf, crlf...)
	}
	return w.err
}

func (w *writer) flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	_, w.err = w.conn.Write(w.buf)
	w.buf = w.buf[:0]
	return w.err
}

// whole tells whether a body whose length the head told has been written to its end.
func (w *writer) whole() bool { return w.err == nil && !w.chunked && w.left == 0 }

// end ends the body and flushes.
func (w *writer) end(trailer message.Header) error {
	if w.err != nil {
		return w.err
	}
	if !w.chunked {
		if w.left > 0 {
			w.err = errLength
			return w.err
		}
		return w.flush()
	}
	w.begin()
	w.str("0\r\n")
	for i := range trailer {
		if forbiddenTrailer(trailer[i].Name) {
			continue
		}
		if err := w.field(trailer[i].Name, trailer[i].Value); err != nil {
			w.err = err
			return err
		}
	}
	w.str("\r\n")
	w.chunked, w.left = false, 0
	return w.flush()
}

// release gives the buffer back if it holds nothing.
func (w *writer) release() {
	if w.buf != nil && (len(w.buf) == 0 || w.err != nil) {
		putBuffer(w.buf)
		w.buf = nil
	}
}

// aboutConnection tells the fields that the codec writes by itself, or that were about the other connection: framing
// and Connection's own (RFC 9110, 7.6.1). TE, Trailer and Upgrade are the caller's.
func aboutConnection(name string) bool {
	switch len(name) {
	case len("host"):
		return message.EqualName(name, "host")
	case len("connection"): // and keep-alive
		return message.EqualName(name, "connection") || message.EqualName(name, "keep-alive")
	case len("content-length"):
		return message.EqualName(name, "content-length")
	case len("proxy-connection"):
		return message.EqualName(name, "proxy-connection")
	case len("transfer-encoding"):
		return message.EqualName(name, "transfer-encoding")
	}
	return false
}

// requestHead serializes a request's head.
func (w *writer) requestHead(req *message.Request, end bool) error {
	w.begin()
	if !ValidName(req.Method) || req.Path == "" || !all(req.Path, classTarget) || !validAuthority(req.Authority) {
		return errInvalidField
	}
	w.str(req.Method)
	w.buf = append(w.buf, ' ')
	w.str(req.Path)
	w.str(" HTTP/1.1\r\nhost: ")
	w.str(req.Authority)
	w.str("\r\n")
	stated := false
	for i := range req.Header {
		f := &req.Header[i]
		if aboutConnection(f.Name) {
			stated = stated || message.EqualName(f.Name, "content-length")
			continue
		}
		if err := w.field(f.Name, f.Value); err != nil {
			return err
		}
	}
	if req.Upgrade != "" {
		// As Envoy: what came over HTTP/2 has no spelling of its own.
		if req.Proto == message.HTTP2 {
			w.str("connection: upgrade\r\n")
		} else {
			w.str("connection: Upgrade\r\n")
		}
		if err := w.field("upgrade", req.Upgrade); err != nil {
			return err
		}
	}
	switch {
	case end:
		w.body(0)
		if stated || !bodiless(req.Method) && req.Upgrade == "" {
			// RFC 9110, 8.6: methods that anticipate a body say that there is none.
			w.str("content-length: 0\r\n")
		}
	case req.ContentLength >= 0:
		w.body(req.ContentLength)
		w.length(req.ContentLength)
	default:
		w.body(-1)
		w.str("transfer-encoding: chunked\r\n")
	}
	w.str("\r\n")
	return nil
}

func bodiless(method string) bool {
	switch method {
	case "GET", "HEAD", "DELETE", "TRACE", "CONNECT":
		return true
	}
	return false
}

func (w *writer) length(n int64) {
	w.str("content-length: ")
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.str("\r\n")
}
