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
	"encoding/hex"
	"encoding/pem"
	"io"
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
	s := NewServer("chain")
	s.Set(&config.DownstreamTLS{ALPN: []string{"h2", "http/1.1"}}, parsed(t,
		issue(t, "first.test", rsaKey()), issue(t, "both.test", rsaKey()), issue(t, "both.test", ecKey()), issue(t, "rsa.test", rsaKey())), nil, NewTickets())
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
	s := NewServer("chain")
	if _, err := shake(t, s, &tls.Config{}); err == nil {
		t.Error("a handshake without a certificate")
	}
	certificates := parsed(t, issue(t, "a.test", ecKey()))
	s.Set(&config.DownstreamTLS{}, certificates, nil, NewTickets())
	if _, err := shake(t, s, &tls.Config{MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 by default")
	}
	s.Set(&config.DownstreamTLS{MinVersion: tls.VersionTLS13}, certificates, nil, NewTickets())
	if _, err := shake(t, s, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 below the minimum")
	}
	s.Set(&config.DownstreamTLS{MaxVersion: tls.VersionTLS12}, certificates, nil, NewTickets())
	if state, err := shake(t, s, &tls.Config{}); err != nil || state.Version != tls.VersionTLS12 {
		t.Error(state.Version, err)
	}
}

// TestResumption: a session outlives a rotation, and does not move to another chain.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tickets := NewTickets()
		a, b := NewServer("a"), NewServer("b")
		first := parsed(t, issue(t, "a.test", ecKey()))
		a.Set(&config.DownstreamTLS{}, first, nil, tickets)
		b.Set(&config.DownstreamTLS{}, first, nil, tickets)
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
		b.Set(&config.DownstreamTLS{}, parsed(t, issue(t, "a.test", ecKey())), nil, tickets)
		if state, err := shake(t, b, client); err != nil || !state.DidResume {
			t.Errorf("%s: after rotation: resumed %v, %v", tls.VersionName(version), state.DidResume, err)
		}
	}
}

// TestSharedTickets: a session made on one proxy of a fleet resumes on another that has the same keys, in the same chain
// alone, and until its key is gone.
func TestSharedTickets(t *testing.T) {
	key := func(c string) config.Secret { return config.Secret(strings.Repeat(c, config.TicketKeySize)) }
	shared := func(keys ...config.Secret) *Tickets { return SharedTickets(&config.TicketKeys{Keys: keys}) }
	// One bit, anywhere in the 80 bytes, makes another key.
	lastBit := key("1")
	lastBit[79] ^= 1
	firstBit := key("1")
	firstBit[0] ^= 1
	for name, test := range map[string]struct {
		first, second           *Tickets
		firstScope, secondScope string
		resumes                 bool
	}{
		"same fleet":            {shared(key("1"), key("2")), shared(key("1"), key("2")), "a", "a", true},
		"the next key encrypts": {shared(key("2"), key("3"), key("1")), shared(key("1"), key("2")), "a", "a", true},
		"after a rotation":      {shared(key("1"), key("2")), shared(key("2"), key("3"), key("1")), "a", "a", true},
		"the key is gone":       {shared(key("1"), key("2")), shared(key("4"), key("5"), key("3")), "a", "a", false},
		"another fleet":         {shared(key("1"), key("2")), shared(key("8"), key("9")), "a", "a", false},
		"another chain":         {shared(key("1"), key("2")), shared(key("1"), key("2")), "a", "b", false},
		"last bit":              {shared(key("1")), shared(lastBit), "a", "a", false},
		"first bit":             {shared(key("1")), shared(firstBit), "a", "a", false},
		"keys of the process":   {NewTickets(), NewTickets(), "a", "a", false},
		"from process to fleet": {NewTickets(), shared(key("1")), "a", "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			certificate := parsed(t, issue(t, "a.test", ecKey()))
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				one, other := NewServer(test.firstScope), NewServer(test.secondScope)
				one.Set(&config.DownstreamTLS{}, certificate, nil, test.first)
				other.Set(&config.DownstreamTLS{}, certificate, nil, test.second)
				client := &tls.Config{ServerName: "a.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
				for i, step := range []struct {
					server  *Server
					resumes bool
				}{{one, false}, {one, true}, {other, test.resumes}} {
					state, err := shake(t, step.server, client)
					if err != nil || state.DidResume != step.resumes {
						t.Errorf("%s: handshake %d: resumed %v, %v", tls.VersionName(version), i, state.DidResume, err)
					}
				}
			}
		})
	}
}

// TestTicketsSwapped: keys change under a running chain, and come to stay the same.
func TestTicketsSwapped(t *testing.T) {
	certificate := parsed(t, issue(t, "a.test", ecKey()))
	old := SharedTickets(&config.TicketKeys{Keys: []config.Secret{config.Secret(strings.Repeat("1", 80))}})
	rotated := SharedTickets(&config.TicketKeys{Keys: []config.Secret{config.Secret(strings.Repeat("2", 80)), old.shared[0]}})
	s := NewServer("a")
	client := &tls.Config{ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, step := range []struct {
		cfg     config.DownstreamTLS
		tickets *Tickets
		resumes bool
	}{
		{config.DownstreamTLS{}, old, false},
		{config.DownstreamTLS{ALPN: []string{"h2"}}, old, true},
		{config.DownstreamTLS{}, rotated, true},
		{config.DownstreamTLS{NoTickets: true}, nil, false},
		{config.DownstreamTLS{}, rotated, true},
		{config.DownstreamTLS{}, old, false},
	} {
		s.Set(&step.cfg, certificate, nil, step.tickets)
		if state, err := shake(t, s, client); err != nil || state.DidResume != step.resumes {
			t.Errorf("step %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
}

// TestDerive: other proxies of the fleet may run another version of this program.
func TestDerive(t *testing.T) {
	got := derive(config.Secret(strings.Repeat("k", config.TicketKeySize)), "0.0.0.0:8443/web/https/shop")
	const want = "45f14776b608f2f2827d30c1ddd8968c58dae7079b76f22392d2bcba58536947" // HMAC-SHA-256, twice, by hand
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

type countedWrites struct {
	net.Conn
	n int
}

func (c *countedWrites) Write(p []byte) (int, error) {
	c.n++
	return c.Conn.Write(p)
}

// TestRecords: an answer of 16 KiB is one record and one system call, also at the start of a connection.
func TestRecords(t *testing.T) {
	s := NewServer("chain")
	s.Set(&config.DownstreamTLS{}, parsed(t, issue(t, "a.test", ecKey())), nil, NewTickets())
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	_ = near.SetDeadline(time.Now().Add(5 * time.Second))
	_ = far.SetDeadline(time.Now().Add(5 * time.Second))
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(tls.Client(near, &tls.Config{InsecureSkipVerify: true}), make([]byte, 16<<10))
		read <- err
	}()
	counted := &countedWrites{Conn: far}
	server := tls.Server(counted, s.Config())
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	before := counted.n
	if _, err := server.Write(make([]byte, 16<<10)); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil || counted.n != before+1 {
		t.Errorf("%d writes, %v, want one", counted.n-before, err)
	}
}

func TestKeyExchange(t *testing.T) {
	s := NewServer("chain")
	s.Set(&config.DownstreamTLS{}, parsed(t, issue(t, "a.test", ecKey())), nil, NewTickets())
	for _, test := range []struct {
		name   string
		offers []tls.CurveID
		want   tls.CurveID
	}{
		{"a browser's", []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}, tls.X25519MLKEM768},
		{"all of Go's", nil, tls.X25519MLKEM768},
		{"nothing post-quantum", []tls.CurveID{tls.X25519, tls.CurveP256}, tls.X25519},
		{"NIST's", []tls.CurveID{tls.SecP256r1MLKEM768, tls.CurveP256, tls.CurveP521}, tls.CurveP256},
		{"P-384", []tls.CurveID{tls.CurveP384}, tls.CurveP384},
		{"P-521", []tls.CurveID{tls.CurveP521}, 0},
	} {
		state, err := shake(t, s, &tls.Config{CurvePreferences: test.offers, MinVersion: tls.VersionTLS13})
		if (err != nil) != (test.want == 0) || state.CurveID != test.want {
			t.Errorf("%s: got %v, %v, want %v", test.name, state.CurveID, err, test.want)
		}
	}
}
