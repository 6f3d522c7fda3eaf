package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// issue makes a self-signed certificate; name is its only host.
func issue(t *testing.T, name string, key crypto.Signer) *config.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &config.Certificate{Name: name, Chain: block("CERTIFICATE", der), Key: config.Secret(block("PRIVATE KEY", pkcs8))}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParse(t *testing.T) {
	ec := ecKey()
	good := issue(t, "a.test", ec)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	sec1, _ := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	with := func(chain, key []byte) *config.Certificate {
		c := *good
		if chain != nil {
			c.Chain = chain
		}
		if key != nil {
			c.Key = key
		}
		return &c
	}
	for _, test := range []struct {
		name string
		in   *config.Certificate
		err  string
	}{
		{"ECDSA", good, ""},
		{"RSA", issue(t, "a.test", rsaKey()), ""},
		{"Ed25519", issue(t, "a.test", edKey), ""},
		{"SEC 1 key", with(nil, block("EC PRIVATE KEY", sec1)), ""},
		{"text before", with(append([]byte("subject=CN = a\n"), good.Chain...), nil), ""},
		{"chain of two", with(append(append([]byte{}, good.Chain...), issue(t, "ca", ecKey()).Chain...), nil), ""},
		{"no chain", with([]byte("x"), nil), "chain: no PEM block CERTIFICATE"},
		{"key in chain", with(append(append([]byte{}, good.Chain...), good.Key...), nil), ""},
		{"text after", with(append(append([]byte{}, good.Chain...), "\r\nsubject=CN = a\r\n"...), nil), ""},
		{"parameters before the key", with(nil, append(block("EC PARAMETERS", []byte("x")), block("EC PRIVATE KEY", sec1)...)), ""},
		{"certificate before the key", with(nil, append(append([]byte{}, good.Chain...), good.Key...)), ""},
		{"cut chain", with(append(append([]byte{}, good.Chain...), good.Chain[:100]...), nil), "chain: a PEM block is cut short"},
		{"not DER", with(block("CERTIFICATE", []byte("x")), nil), "chain: certificate 1: x509"},
		{"no key", with(nil, []byte("x")), "private key: no PEM block"},
		{"certificate for key", with(nil, good.Chain), `private key: got PEM block "CERTIFICATE"`},
		{"encrypted key", with(nil, block("ENCRYPTED PRIVATE KEY", nil)), "is encrypted"},
		{"bad key", with(nil, block("PRIVATE KEY", []byte("x"))), "private key: asn1"},
		{"other key", with(nil, issue(t, "b.test", ecKey()).Key), `private key does not match the certificate of "CN=a.test"`},
		{"other kind of key", with(nil, issue(t, "b.test", rsaKey()).Key), "private key is RSA, its certificate's is ECDSA"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.in)
			if test.err == "" {
				if err != nil || got.Leaf.Subject.CommonName != "a.test" {
					t.Fatal(got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if !strings.HasPrefix(err.Error(), `certs: certificate "a.test": `) {
				t.Errorf("the error does not name the certificate: %v", err)
			}
		})
	}
}

// shake is a handshake on loopback; it returns the client's view.
func shake(t *testing.T, s *Server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = near.SetDeadline(time.Now().Add(5 * time.Second))
	_ = far.SetDeadline(time.Now().Add(5 * time.Second))
	client.InsecureSkipVerify = true
	c := tls.Client(near, client)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := tls.Server(far, s.Config())
		if server.Handshake() == nil {
			_, _ = server.Write([]byte("x")) // the ticket comes before it
		}
		far.Close()
	}()
	defer func() { near.Close(); <-done }()
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), nil
}

func parsed(t *testing.T, all ...*config.Certificate) []*tls.Certificate {
	t.Helper()
	var out []*tls.Certificate
	for _, c := range all {
		p, err := Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestChoice(t *testing.T) {
	s := NewServer(NewTickets(), "chain")
	s.Set(&config.DownstreamTLS{ALPN: []string{"h2", "http/1.1"}}, parsed(t,
		issue(t, "first.test", rsaKey()), issue(t, "both.test", rsaKey()), issue(t, "both.test", ecKey()), issue(t, "rsa.test", rsaKey())))
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, test := range []struct {
		name   string
		client *tls.Config
		want   string
	}{
		{"by name", &tls.Config{ServerName: "rsa.test"}, "rsa.test RSA "},
		{"ECDSA first", &tls.Config{ServerName: "both.test"}, "both.test ECDSA "},
		{"RSA for who needs it", &tls.Config{ServerName: "both.test", MaxVersion: tls.VersionTLS12, CipherSuites: rsaOnly}, "both.test RSA "},
		{"unknown name", &tls.Config{ServerName: "other.test"}, "first.test RSA "},
		{"ALPN by our preference", &tls.Config{ServerName: "rsa.test", NextProtos: []string{"http/1.1", "h2"}}, "rsa.test RSA h2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, err := shake(t, s, test.client)
			if err != nil {
				t.Fatal(err)
			}
			leaf := state.PeerCertificates[0]
			if got := leaf.Subject.CommonName + " " + leaf.PublicKeyAlgorithm.String() + " " + state.NegotiatedProtocol; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := NewServer(NewTickets(), "chain")
	if _, err := shake(t, s, &tls.Config{}); err == nil {
		t.Error("a handshake without a certificate")
	}
	certificates := parsed(t, issue(t, "a.test", ecKey()))
	s.Set(&config.DownstreamTLS{}, certificates)
	if _, err := shake(t, s, &tls.Config{MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 by default")
	}
	s.Set(&config.DownstreamTLS{MinVersion: tls.VersionTLS13}, certificates)
	if _, err := shake(t, s, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 below the minimum")
	}
	s.Set(&config.DownstreamTLS{MaxVersion: tls.VersionTLS12}, certificates)
	if state, err := shake(t, s, &tls.Config{}); err != nil || state.Version != tls.VersionTLS12 {
		t.Error(state.Version, err)
	}
}

// TestResumption: a session outlives a rotation, and does not move to another chain.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tickets := NewTickets()
		a, b := NewServer(tickets, "a"), NewServer(tickets, "b")
		first := parsed(t, issue(t, "a.test", ecKey()))
		a.Set(&config.DownstreamTLS{}, first)
		b.Set(&config.DownstreamTLS{}, first)
		client := &tls.Config{ServerName: "a.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		steps := []struct {
			server  *Server
			resumes bool
		}{{a, false}, {a, true}, {b, false}, {b, true}}
		for i, step := range steps {
			state, err := shake(t, step.server, client)
			if err != nil || state.DidResume != step.resumes {
				t.Errorf("%s: handshake %d: resumed %v, %v", tls.VersionName(version), i, state.DidResume, err)
			}
		}
		b.Set(&config.DownstreamTLS{}, parsed(t, issue(t, "a.test", ecKey())))
		if state, err := shake(t, b, client); err != nil || !state.DidResume {
			t.Errorf("%s: after rotation: resumed %v, %v", tls.VersionName(version), state.DidResume, err)
		}
	}
}
