package live

import (
	"bytes"
	"net"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

const (
	// maxApologies is how many connections may be told at once why they are refused; others are just closed, so that a
	// flood costs a bounded number of descriptors.
	maxApologies = 64
	// apologyTime is how long a refused connection lives at most.
	apologyTime = time.Second
	// apologyBytes is how much of a refused request is read, so that the answer is not lost to a reset (RFC 9112, 9.6).
	apologyBytes = 64 << 10
)

// apology is told to who speaks plain HTTP/1. It needs no request to have been understood.
var apology = []byte("HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 20\r\n" +
	"connection: close\r\n\r\ntoo many connections")

// shed refuses a connection, and closes it: with a 503 where it is sure to be plain HTTP/1, else without a word, as Envoy
// does always. It does not wait.
func (l *running) shed(conn net.Conn, _ listener.Reason) {
	r := l.runtime
	if !l.version.Load().plainHTTP1() {
		conn.Close()
		return
	}
	if r.apologies.Add(1) > maxApologies {
		r.apologies.Add(-1)
		conn.Close()
		return
	}
	r.connections.Go(func() {
		defer r.apologies.Add(-1)
		defer conn.Close()
		apologize(conn, l.announced())
	})
}

// plainHTTP1 tells whether all connections of a listener may speak HTTP/1 from their first byte on.
func (v *version) plainHTTP1() bool {
	all := v.all()
	if v.config.InspectTLS || len(all) != 1 {
		return false
	}
	c := all[0].config.Load()
	return c.TLS == nil && c.HTTP != nil && c.HTTP.Codec != config.CodecHTTP2
}

// announced tells whether a listener's connections may begin with the PROXY protocol's header.
func (l *running) announced() bool {
	return l.version.Load().config.ProxyHeader != config.ProxyHeaderNone
}

// apologize answers what a client asks, whatever that is; to one that asks nothing, or by HTTP/2, there is nothing to say.
// announced: the PROXY protocol's header may stand before.
func apologize(conn net.Conn, announced bool) {
	if conn.SetDeadline(time.Now().Add(apologyTime)) != nil {
		return
	}
	buf := make([]byte, 1024)
	n, err := conn.Read(buf)
	asked := buf[:n]
	if announced && err == nil {
		if _, length, _ := proxyprotocol.Parse(asked); length > 0 {
			asked = asked[length:]
		}
		if len(asked) == 0 {
			n, err = conn.Read(buf)
			asked = buf[:n]
		}
	}
	if err != nil || bytes.HasPrefix(asked, []byte("PRI ")) {
		return
	}
	if _, err := conn.Write(apology); err != nil {
		return
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	for total := n; total < apologyBytes; total += n {
		if n, err = conn.Read(buf); err != nil {
			return
		}
	}
}
