package http2

import (
	"strconv"
	"unsafe"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// checkRequest refuses what would not be one request to everybody.
func checkRequest(head *message.Request) *failure.Error {
	switch {
	case !http1.ValidName(head.Method):
		return failure.Newf(failure.BadRequest, "method %q", head.Method)
	case head.Upgrade != "" && !http1.ValidName(head.Upgrade):
		return failure.Newf(failure.BadRequest, "protocol %q", head.Upgrade)
	case head.Scheme != "http" && head.Scheme != "https":
		return failure.Newf(failure.BadRequest, "scheme %q", head.Scheme)
	case !http1.ValidTarget(head.Path) || head.Path[0] != '/' && head.Path != "*":
		return failure.Newf(failure.BadRequest, "path %q", head.Path)
	case !http1.ValidAuthority(head.Authority):
		return failure.Newf(failure.BadRequest, "authority %q", head.Authority)
	}
	return nil
}

// putHead gathers a request's head. length is its body's, -1 if it is not known. The lock is held.
func (c *ClientConn) putHead(id uint32, head *message.Request, length int64, end bool) error {
	w := &c.out
	w.beginHeaders(id)
	if head.Upgrade != "" {
		// RFC 8441, 4.
		w.pseudo(":method", "CONNECT")
		w.pseudo(":protocol", head.Upgrade)
	} else {
		w.pseudo(":method", head.Method)
	}
	w.pseudo(":scheme", head.Scheme)
	w.pseudo(":authority", head.Authority)
	w.pseudo(":path", head.Path)
	stated, te := false, false
	for i := range head.Header {
		f := &head.Header[i]
		switch name := w.encoder.lower(f.Name); name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host":
			// RFC 9113, 8.2.2 and 8.3.1.
		case "content-length":
			if length >= 0 && !stated {
				c.putLength(length)
			}
			stated = true
		case "te":
			if !te && trailersOnly(f.Value) {
				te = true
				w.pseudo("te", "trailers")
			}
		default:
			w.field(name, f.Value)
		}
	}
	if !stated && length > 0 {
		c.putLength(length)
	}
	return w.endHeaders(id, end)
}

func (c *ClientConn) putLength(n int64) {
	c.digits = strconv.AppendInt(c.digits[:0], n, 10)
	c.out.pseudo("content-length", unsafe.String(unsafe.SliceData(c.digits), len(c.digits)))
}
