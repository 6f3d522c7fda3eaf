package upstream

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// selfSigned is a certificate for a name, and who trusts it.
func selfSigned(t *testing.T, name string) (*tls.Certificate, *certs.Trust) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := certs.NewTrust(nil, &config.Validation{
		Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Names:       []config.AltName{{Text: config.Text{Value: "a.test"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, trust
}

// secured is a TLS server: serve has each connection, after its handshake. Closing it is the test's.
func secured(t *testing.T, certificate *tls.Certificate, serve func(*tls.Conn)) config.Endpoint {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if secure := c.(*tls.Conn); secure.Handshake() == nil {
					serve(secure)
				}
			}()
		}
	}()
	return config.Endpoint{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}
}

// answering answers each request with what answer says, in one write.
func answering(answer func(c *tls.Conn) string) func(*tls.Conn) {
	return func(c *tls.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				_, _ = io.WriteString(c, answer(c))
			}
		}
	}
}

func withTLS() *config.Cluster {
	c := settings()
	c.TLS = &config.UpstreamTLS{ServerName: "a.test", Trust: &config.Trust{Name: "trust/ca"}, MaxVersion: tls.VersionTLS13}
	return c
}

// fetch is an exchange, and its answer's body.
func fetch(t *testing.T, client *Client) (string, error) {
	t.Helper()
	e := client.Cluster.Endpoints[0]
	up := client.Take(e, nil)
	if up == nil {
		var err error
		if up, err = client.Dial(context.Background(), e, nil); err != nil {
			return "", err
		}
	}
	defer up.Close(true)
	if err := up.WriteRequest(&message.Request{Method: "GET", Authority: "a.test", Path: "/"}, true); err != nil {
		return "", err
	}
	if _, err := up.ReadResponse(); err != nil {
		return "", err
	}
	var body strings.Builder
	buf := make([]byte, 4) // short, so that much of a record is left
	for {
		n, err := up.Read(buf)
		body.Write(buf[:n])
		if err == io.EOF {
			return body.String(), nil
		}
		if err != nil {
			return body.String(), err
		}
	}
}

// TestUnaskedOverTLS: what an upstream sends beyond its answer is never taken for the next one, though crypto/tls may have it by
// then: in the same record, or in the next one of the same packet.
func TestUnaskedOverTLS(t *testing.T) {
	const honest, forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	for name, serve := range map[string]func(*tls.Conn){
		"in the same record": answering(func(*tls.Conn) string { return honest + forged }),
		"in the next record": answering(func(*tls.Conn) string {
			// Records end at 16 KiB: the answer fills one.
			head := "HTTP/1.1 200 OK\r\nX-Fill: "
			rest := "\r\nContent-Length: 6\r\n\r\nhonest"
			return head + strings.Repeat("x", maxPlaintext-len(head)-len(rest)) + rest + forged
		}),
	} {
		t.Run(name, func(t *testing.T) {
			certificate, trust := selfSigned(t, "a.test")
			client := NewClient(cluster.New(withTLS(), []config.Endpoint{secured(t, certificate, serve)}, nil), nil)
			defer client.Close()
			client.SetTLS(true, nil, trust)
			for range 5 {
				if got, err := fetch(t, client); err != nil || got != "honest" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if n := client.Cluster.Stats.ConnectionsTotal.Load(); n != 5 {
				t.Errorf("%d connections for 5 requests: one that said too much was used again", n)
			}
		})
	}
}

// TestSecretsOfTLS: what is shown and who is trusted holds for new connections, and leaves those that are there alone.
func TestSecretsOfTLS(t *testing.T) {
	certificate, trust := selfSigned(t, "a.test")
	own, other := selfSigned(t, "client.test")
	tell := answering(func(c *tls.Conn) string {
		state := c.ConnectionState()
		told := "none"
		if len(state.PeerCertificates) > 0 {
			told = "some"
		}
		if state.DidResume {
			told = "back"
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + told
	})
	endpoints := []config.Endpoint{secured(t, certificate, tell)}
	client := NewClient(cluster.New(withTLS(), endpoints, nil), nil)
	defer func() { client.Close() }()
	want := func(step, told string, connections int64) {
		t.Helper()
		got, err := fetch(t, client)
		if f := (*failure.Error)(nil); err != nil && (!errors.As(err, &f) || f.Kind != failure.ConnectFailed) {
			t.Errorf("%s: got %v, want it to be of kind ConnectFailed", step, err)
		}
		if n := client.Cluster.Stats.ConnectionsTotal.Load(); got != told || n != connections {
			t.Errorf("%s: got %q (%v) with %d connections, want %q with %d", step, got, err, n, told, connections)
		}
	}
	renew := func(cfg *config.Cluster) {
		old := client
		client = NewClient(cluster.New(cfg, endpoints, old.Cluster), old)
		old.Close()
	}
	drop := func() { // the idle connections
		e := client.Cluster.Endpoints[0]
		for up := client.Take(e, nil); up != nil; up = client.Take(e, nil) {
			up.Close(false)
		}
	}
	want("before the secrets are there", "", 1)
	client.SetTLS(false, nil, nil)
	want("nor are they now", "", 2)
	client.SetTLS(true, nil, trust)
	want("the authority is there", "none", 3)
	want("again", "none", 3)
	client.SetTLS(true, own, trust)
	want("a certificate leaves the connection alone", "none", 3)
	renew(withTLS())
	want("and so does another version", "none", 3)
	drop()
	want("a new connection shows it", "some", 4)
	drop()
	client.SetTLS(true, own, trust)
	want("its session is resumed", "back", 5)
	client.SetTLS(true, own, other)
	want("another authority leaves the connection alone", "back", 5)
	drop()
	want("and takes no new one", "", 6)
	client.SetTLS(true, own, trust)
	want("until it is the right one again", "some", 7)
	changed := withTLS()
	changed.TLS.ServerName = "b.test"
	renew(changed)
	want("other settings are no connection's of before", "", 8)
	client.SetTLS(true, nil, trust)
	want("and want their secrets anew", "none", 9)
	if n := client.Cluster.Stats.ConnectFailures.Load(); n != 4 || client.Cluster.Stats.TLSFailures.Load() != n {
		t.Errorf("%d failures to connect, %d in the handshake, want 4 of both", n, client.Cluster.Stats.TLSFailures.Load())
	}
}

// TestTCPOverTLS: TCP offers no protocol, and its half-close is TLS's.
func TestTCPOverTLS(t *testing.T) {
	certificate, trust := selfSigned(t, "a.test")
	protocol := make(chan string, 1)
	endpoint := secured(t, certificate, func(c *tls.Conn) {
		protocol <- c.ConnectionState().NegotiatedProtocol
		data, _ := io.ReadAll(c)
		_, _ = c.Write(data)
	})
	client := NewClient(cluster.New(withTLS(), []config.Endpoint{endpoint}, nil), nil)
	defer client.Close()
	client.SetTLS(true, nil, trust)
	conn, _, err := client.DialTCP(context.Background(), proxyprotocol.Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-protocol; got != "" {
		t.Errorf("got %q by ALPN, want none", got)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestSilentTLS: an endpoint that does not answer the handshake has the connect timeout.
func TestSilentTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, trust := selfSigned(t, "a.test")
	cfg := withTLS()
	cfg.ConnectTimeout = 20 * time.Millisecond
	client := NewClient(cluster.New(cfg, []config.Endpoint{{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}}, nil), nil)
	defer client.Close()
	client.SetTLS(true, nil, trust)
	_, err = fetch(t, client)
	if f := (*failure.Error)(nil); !errors.As(err, &f) || f.Kind != failure.ConnectTimeout {
		t.Errorf("got %v, want it to be of kind ConnectTimeout", err)
	}
}

// TestRecords: crypto/tls gets no byte beyond a record, however the bytes come.
func TestRecords(t *testing.T) {
	record := func(size int) string {
		return "\x17\x03\x03" + string([]byte{byte(size >> 8), byte(size)}) + strings.Repeat("x", size)
	}
	all := []string{record(0), record(1), record(4000), record(maxPlaintext + 256), record(60000), record(5)}
	whole := strings.Join(all, "")
	for name, reader := range map[string]io.Reader{
		"at once": strings.NewReader(whole), "byte by byte": iotest.OneByteReader(strings.NewReader(whole)), "by halves": iotest.HalfReader(strings.NewReader(whole)),
	} {
		t.Run(name, func(t *testing.T) {
			r := &records{Conn: readerConn{Reader: reader}}
			buf := make([]byte, 1<<17)
			for i, want := range all {
				got := 0
				for got < len(want) {
					n, err := r.Read(buf)
					if err != nil {
						t.Fatal(i, err)
					}
					if got += n; got > len(want) {
						t.Fatalf("record %d: got %d bytes, want %d: some are of the next", i, got, len(want))
					}
				}
			}
			if n, err := r.Read(buf); n != 0 || err != io.EOF || len(r.ahead) != 0 || r.buf != nil {
				t.Errorf("at the end: got %d, %v", n, err)
			}
		})
	}
}

type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
