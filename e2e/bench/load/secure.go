package load

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// Secure says how TLS is spoken.
type Secure struct {
	ServerName string
	// ALPN is the one protocol that is offered, and must be chosen.
	ALPN string
}

// config asks every proxy for the same: TLS 1.3, X25519 and no post-quantum exchange, which some do not have.
func (s *Secure) config() *tls.Config {
	return &tls.Config{
		ServerName: s.ServerName, NextProtos: []string{s.ALPN}, InsecureSkipVerify: true, // self-signed, on loopback
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
	}
}

// handshake dials and shakes hands on a blocking connection.
func handshake(addr string, config *tls.Config) (*tls.Conn, *wire, error) {
	tcp, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	_ = tcp.SetDeadline(time.Now().Add(stall))
	w := &wire{Conn: tcp}
	secure := tls.Client(w, config)
	err = secure.Handshake()
	if state := secure.ConnectionState(); err == nil && state.NegotiatedProtocol != config.NextProtos[0] {
		err = fmt.Errorf("ALPN chose %q, want %q", state.NegotiatedProtocol, config.NextProtos[0])
	}
	if err != nil {
		_ = tcp.Close()
		return nil, nil, fmt.Errorf("load: %s: %w", addr, err)
	}
	return secure, w, nil
}

// dial shakes hands, and then gives the socket to a loop.
func (s *Secure) dial(l *loop.Loop, addr string, h loop.Handler) (transport, error) {
	secure, w, err := handshake(addr, s.config())
	if err != nil {
		return nil, err
	}
	tcp := w.Conn.(*net.TCPConn)
	defer tcp.Close()
	var file *os.File
	if file, err = tcp.File(); err != nil {
		return nil, err
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if w.loop, err = l.Add(fd, h); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return secure, nil
}

// wire is what crypto/tls reads and writes: the blocking connection, and then the loop's. It has no deadlines then.
type wire struct {
	net.Conn
	loop *loop.Conn
}

func (w *wire) Read(p []byte) (int, error) {
	if w.loop == nil {
		return w.Conn.Read(p)
	}
	return w.loop.Read(p)
}

// Write copies what cannot be sent at once: crypto/tls uses its buffer again.
func (w *wire) Write(p []byte) (int, error) {
	if w.loop == nil {
		return w.Conn.Write(p)
	}
	return writeCopy(w.loop, p)
}

// writeCopy writes bytes that the caller uses again.
func writeCopy(t transport, p []byte) (int, error) {
	c, ok := t.(*loop.Conn)
	if !ok {
		return t.Write(p) // TLS, which ends in wire.Write
	}
	sent := 0
	if !c.Pending() {
		var err error
		if sent, err = c.Send(p); err != nil {
			return 0, err
		}
	}
	if sent < len(p) {
		if _, err := c.Write(bytes.Clone(p[sent:])); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
