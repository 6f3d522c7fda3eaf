package http1

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// pair is the two ends of a TCP connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func secure(t *testing.T, near, far net.Conn) (server, client *tls.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(near, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	client = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestGone(t *testing.T) {
	until := func(conn net.Conn) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !gone(conn); {
			if time.Now().After(deadline) {
				t.Fatal("the end is not noticed")
			}
		}
	}
	near, far := pair(t)
	if gone(near) {
		t.Error("an open connection is taken for gone")
	}
	far.Close()
	until(near)

	near, far = pair(t)
	server, client := secure(t, near, far)
	if gone(server) {
		t.Error("an open TLS connection is taken for gone")
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if gone(server) {
		t.Error("an open TLS connection is taken for gone after bytes")
	}
	client.Close()
	until(server)
}

// lateConn's second read is woken by a deadline, and by the time that its reader has its turn the next request is there.
type lateConn struct {
	net.Conn
	reads int
	wait  func()
}

func (c *lateConn) Read(p []byte) (int, error) {
	if c.reads++; c.reads == 2 {
		c.wait()
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

func (c *lateConn) NetConn() net.Conn { return c.Conn }

// A connection that drains is not closed on a request that has come.
func TestDrainLooksOnceMore(t *testing.T) {
	near, far := pair(t)
	var draining atomic.Bool
	const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	c := &lateConn{Conn: near, wait: func() {
		draining.Store(true)
		_, _ = io.WriteString(far, get)
		for !asked(near) {
			runtime.Gosched()
		}
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeConn(c, ServerOptions{MaxHeaderBytes: 1 << 10, MaxHeaderCount: 10, Draining: &draining}, func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 204}, true)
			_ = s.End(nil)
		})
	}()
	_, _ = io.WriteString(far, get)
	got, _ := io.ReadAll(far)
	<-done
	if n := strings.Count(string(got), "HTTP/1.1 204"); n != 2 || strings.Count(string(got), "connection: close") != 1 {
		t.Errorf("got %q, want two answers, and that the connection ends in the second", got)
	}
}
