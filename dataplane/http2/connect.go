package http2

import (
	"net"
	"strconv"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// extendedConnect makes a request with Upgrade of a CONNECT with :protocol (RFC 8441, 4), as Envoy does: a GET, whose body
// is the other protocol's and none of its own.
func (r *fieldReader) extendedConnect(req *message.Request) *malformed {
	if r.method != "CONNECT" {
		return broken(":protocol with method %q, want CONNECT (RFC 8441, 4)", r.method)
	}
	if !http1.ValidName(r.protocol) {
		return refusal(":protocol is not a token")
	}
	r.method, req.Method, req.Upgrade = "GET", "GET", r.protocol
	if r.crumbs > 1 {
		joinCookies(&req.Header, r.crumbs)
	}
	if why := r.checkRequest(req); why != nil {
		return why
	}
	for i := range req.Header {
		if req.Header[i].Name == "content-length" {
			return refusal("content-length with CONNECT (RFC 9110, 9.3.6)")
		}
	}
	r.declared, req.ContentLength = -1, 0
	return nil
}

// Switch answers an extended CONNECT with 200, which is HTTP/2's 101, and makes a connection of the stream. The head's
// fields about a connection are left out.
func (s *ServerStream) Switch(head *message.Response) (ahead []byte, conn net.Conn, err error) {
	if head.Status != 101 || s.req.Upgrade == "" {
		return nil, nil, failure.Newf(failure.Internal, "status %d to protocol %q, want 101 to one", head.Status, s.req.Upgrade)
	}
	answer := *head
	answer.Status, answer.ContentLength = 200, -1
	if err := s.Respond(&answer, false); err != nil {
		return nil, nil, err
	}
	return nil, &streamConn{ServerStream: s}, s.Flush()
}

// streamConn is a stream as a connection of bytes: its end is END_STREAM. Only the methods that carry bytes are of use.
type streamConn struct{ *ServerStream }

// Write sends at once.
func (c *streamConn) Write(p []byte) (int, error) {
	n, err := c.ServerStream.Write(p)
	if err == nil {
		err = c.Flush()
	}
	return n, err
}

// Close breaks the stream off, unless it has ended.
func (c *streamConn) Close() error {
	c.Reset()
	return nil
}

// CloseWrite ends the answer.
func (c *streamConn) CloseWrite() error { return c.End(nil) }

// LocalAddr and RemoteAddr are the stream's number.
func (c *streamConn) LocalAddr() net.Addr { return streamAddr(c.id) }

// RemoteAddr is LocalAddr.
func (c *streamConn) RemoteAddr() net.Addr { return streamAddr(c.id) }

// SetDeadline is for reading alone.
func (c *streamConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: ServerOptions.WriteTimeout watches over writes.
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

type streamAddr uint32

// Network is a stream's.
func (streamAddr) Network() string { return "http2" }

// String is the stream's number.
func (a streamAddr) String() string { return "stream " + strconv.Itoa(int(a)) }
