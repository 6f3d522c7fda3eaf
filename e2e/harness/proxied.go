package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// headerListener is of an upstream that wants the PROXY protocol's header.
type headerListener struct{ net.Listener }

func (l headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headerConn{Conn: c}, nil
}

// headerConn takes the header off with the first Read.
type headerConn struct {
	net.Conn
	// said is what the header says; empty before the first Read. ahead is what was read after it. Only the reader.
	said  string
	ahead []byte
}

func (c *headerConn) Read(p []byte) (int, error) {
	for buf := make([]byte, 0, proxyprotocol.MaxLength); c.said == ""; {
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		h, length, bad := proxyprotocol.Parse(buf)
		switch {
		case bad != nil:
			c.said, c.ahead = bad.Error(), buf
		case length == 0 && err != nil:
			return 0, err
		case length > 0:
			c.said, c.ahead = describe(h, buf[0] == 'P'), buf[length:]
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// describe is such as "v1 203.0.113.1:4711 192.0.2.1:443", or "v2 local" where the header has no addresses.
func describe(h proxyprotocol.Header, text bool) string {
	version := "v2"
	if text {
		version = "v1"
	}
	if !h.Source.IsValid() {
		return version + " local"
	}
	return fmt.Sprintf("%s %s %s", version, h.Source, h.Destination)
}

// said is what the header of an upstream's connection says; empty for those that want none.
func said(c net.Conn) string {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if h, ok := c.(*headerConn); ok {
		return h.said
	}
	return ""
}

type connKey struct{}

// withConn lets HTTP/2's handlers find their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
