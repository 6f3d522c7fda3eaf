package bootstrap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(change func(*x509.Certificate)) (chain, key []byte) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	dns := func(names ...string) func(*x509.Certificate) { return func(c *x509.Certificate) { c.DNSNames = names } }
	ip := func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }
	for name, tt := range map[string]struct {
		server string
		by     *authority
		cert   func(*x509.Certificate)
		want   string
	}{
		"by name":         {"cp.example.com:1", ours, dns("cp.example.com"), ""},
		"by wildcard":     {"cp.example.com:1", ours, dns("*.example.com"), ""},
		"another name":    {"cp.example.com:1", ours, dns("example.com"), "has none of the names"},
		"by address":      {"10.0.0.1:1", ours, ip, ""},
		"another address": {"10.0.0.2:1", ours, ip, "has none of the names"},
		"no names":        {"10.0.0.2:1", ours, func(*x509.Certificate) {}, "has none of the names"},
		"another CA":      {"cp.example.com:1", theirs, dns("cp.example.com"), "unknown authority"},
		"expired": {"cp.example.com:1", ours, func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"cp.example.com"}, time.Now().Add(-time.Minute)
		}, "expired"},
		"a client's": {"cp.example.com:1", ours, func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"cp.example.com"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := func(name string, data []byte) string {
				t.Helper()
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			chain, key := ours.issue(dns("p1.edge"))
			text, err := bootstrap.Write(bootstrap.Options{
				Server: tt.server, Fleet: "edge", ID: "p1", CA: file("ca", ours.pem), Certificate: file("crt", chain), Key: file("key", key),
			})
			if err != nil {
				t.Fatal(err)
			}
			b, err := bootstrap.Read(text)
			if err != nil {
				t.Fatal(err)
			}
			config, err := b.ADS.Target.TLS()
			if err != nil {
				t.Fatal(err)
			}
			err = handshake(t, config, ours, tt.by, tt.cert)
			if (tt.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// handshake is the client's end of one with a server that wants a certificate too.
func handshake(t *testing.T, config *tls.Config, clients, by *authority, cert func(*x509.Certificate)) error {
	t.Helper()
	pair, err := tls.X509KeyPair(by.issue(cert))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		far, err := listener.Accept()
		if err != nil {
			return
		}
		defer far.Close()
		server := tls.Server(far, &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
		})
		if server.Handshake() == nil {
			_, _ = server.Write([]byte{1}) // tells the client that its certificate was taken
		}
	}()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(near, config)
	err = conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	near.Close()
	<-ended
	return err
}

func TestTLSFiles(t *testing.T) {
	config := func(ca, crt, key string) error {
		t.Helper()
		text, err := bootstrap.Write(bootstrap.Options{Server: "10.0.0.1:1", Fleet: "f", ID: "i", CA: ca, Certificate: crt, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bootstrap.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.ADS.Target.TLS()
		return err
	}
	a := newAuthority(t)
	ca := filepath.Join(t.TempDir(), "ca")
	if err := config(ca, "", ""); err == nil || !strings.Contains(err.Error(), "trusted_ca: open "+ca) {
		t.Errorf("got %v, want the missing file", err)
	}
	if err := os.WriteFile(ca, a.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	// Files are read for each connection: what was missing may have come.
	if err := config(ca, "", ""); err != nil {
		t.Error(err)
	}
	if err := config(ca, ca, ca); err == nil || !strings.Contains(err.Error(), "tls_certificates") {
		t.Errorf("got %v, want the pair refused", err)
	}
}
