package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes one; by, which may be nil, signs it.
func newAuthority(t *testing.T, name string, by *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) validation(names ...config.AltName) *config.Validation {
	return &config.Validation{Name: "trust/ca", Authorities: block("CERTIFICATE", a.cert.Raw), Names: names}
}

// sign makes a certificate of a template, for clients unless the template says otherwise.
func (a *authority) sign(t *testing.T, template x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestTrust(t *testing.T) {
	ca, other := newAuthority(t, "ca", nil), newAuthority(t, "other", nil)
	between := newAuthority(t, "between", ca)
	dns := func(kind config.TextKind, value string) config.AltName {
		return config.AltName{Text: config.Text{Kind: kind, Value: value}}
	}
	uri := func(kind config.TextKind, value string) config.AltName {
		return config.AltName{Kind: config.AltURI, Text: config.Text{Kind: kind, Value: value}}
	}
	host := func(names ...string) *tls.Certificate { return ca.sign(t, x509.Certificate{DNSNames: names}) }
	spiffe := ca.sign(t, x509.Certificate{URIs: []*url.URL{address(t, "spiffe://a.test/x")}})
	chained := between.sign(t, x509.Certificate{DNSNames: []string{"a.test"}})
	chained.Certificate = append(chained.Certificate, between.cert.Raw)
	for _, test := range []struct {
		name  string
		shown *tls.Certificate
		names []config.AltName
		good  bool
	}{
		{"any name", host("a.test"), nil, true},
		{"nothing", &tls.Certificate{}, nil, false},
		{"another authority", other.sign(t, x509.Certificate{DNSNames: []string{"a.test"}}), nil, false},
		{"expired", ca.sign(t, x509.Certificate{NotAfter: time.Now().Add(-time.Minute)}), nil, false},
		{"for servers", ca.sign(t, x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), nil, false},
		{"by an intermediate that is shown", chained, nil, true},
		{"by an intermediate that is not", between.sign(t, x509.Certificate{}), nil, false},
		{"host", host("a.test"), []config.AltName{dns(config.TextExact, "a.test")}, true},
		{"host in another case", host("A.test"), []config.AltName{dns(config.TextExact, "a.TEST")}, true},
		{"second of both", host("x.test", "b.test"), []config.AltName{dns(config.TextExact, "a.test"), dns(config.TextExact, "b.test")}, true},
		{"wildcard", host("*.a.test"), []config.AltName{dns(config.TextExact, "b.a.test")}, true},
		{"wildcard for two labels", host("*.a.test"), []config.AltName{dns(config.TextExact, "c.b.a.test")}, false},
		{"wildcard for none", host("*.a.test"), []config.AltName{dns(config.TextExact, "a.test")}, false},
		{"another host", host("b.test"), []config.AltName{dns(config.TextExact, "a.test")}, false},
		{"common name", ca.sign(t, x509.Certificate{Subject: pkix.Name{CommonName: "a.test"}}), []config.AltName{dns(config.TextExact, "a.test")}, false},
		{"host by suffix", host("b.a.test"), []config.AltName{dns(config.TextSuffix, ".a.test")}, true},
		{"host by prefix", host("b.a.test"), []config.AltName{dns(config.TextPrefix, "a.")}, false},
		{"host that contains", host("b.a.test"), []config.AltName{dns(config.TextContains, ".a.")}, true},
		{"host by pattern", host("b.a.test"), []config.AltName{{Text: config.Text{Kind: config.TextRegex, Regex: regexp.MustCompile(`^[bc]\.a\.test$`)}}}, true},
		{"URI", spiffe, []config.AltName{uri(config.TextExact, "spiffe://a.test/x")}, true},
		{"URI by prefix", spiffe, []config.AltName{uri(config.TextPrefix, "spiffe://a.test/")}, true},
		{"another URI", spiffe, []config.AltName{uri(config.TextExact, "spiffe://a.test/X")}, false},
		{"URI for a host", spiffe, []config.AltName{dns(config.TextExact, "spiffe://a.test/x")}, false},
		{"host for a URI", host("a.test"), []config.AltName{uri(config.TextExact, "a.test")}, false},
		{"email", ca.sign(t, x509.Certificate{EmailAddresses: []string{"a@a.test"}}), []config.AltName{{Kind: config.AltEmail, Text: config.Text{Value: "a@a.test"}}}, true},
		{"another email", ca.sign(t, x509.Certificate{EmailAddresses: []string{"b@a.test"}}), []config.AltName{{Kind: config.AltEmail, Text: config.Text{Value: "a@a.test"}}}, false},
		{"IP", ca.sign(t, x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}), []config.AltName{{Kind: config.AltIP, Text: config.Text{Value: "10.0.0.1"}}}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			trust, err := NewTrust(&config.Validation{Names: test.names}, ca.validation())
			if err != nil {
				t.Fatal(err)
			}
			var shown []*x509.Certificate
			for _, der := range test.shown.Certificate {
				c, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				shown = append(shown, c)
			}
			err = trust.verify(shown, x509.ExtKeyUsageClientAuth)
			if peer := (*PeerError)(nil); (err == nil) != test.good || err != nil && !errors.As(err, &peer) {
				t.Errorf("got %v, want good: %v", err, test.good)
			}
		})
	}
}

func TestNewTrust(t *testing.T) {
	ca := newAuthority(t, "ca", nil)
	for name, v := range map[string]*config.Validation{
		"nothing": nil, "no authority": {}, "no PEM": {Authorities: []byte("x")}, "not DER": {Authorities: block("CERTIFICATE", []byte("x"))},
		"cut short": {Authorities: append(block("CERTIFICATE", ca.cert.Raw), "-----BEGIN CERTIFICATE-----\nMII"...)},
	} {
		if trust, err := NewTrust(v, nil); err == nil {
			t.Errorf("%s: got %v, want an error: nobody is to be trusted", name, trust)
		}
	}
}

// TestClients: who shows no good certificate is refused, also with a ticket of better days.
func TestClients(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, tickets := range map[string]*Tickets{"own": NewTickets(), "shared": SharedTickets(&config.TicketKeys{Keys: []config.Secret{make(config.Secret, config.TicketKeySize)}})} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				first, second := newAuthority(t, "ca", nil), newAuthority(t, "ca", nil)
				served := parsed(t, issue(t, "a.test", ecKey()))
				s := NewServer("chain")
				set := func(optional bool, own *config.Validation, by ...*authority) {
					t.Helper()
					var trust *Trust
					if len(by) > 0 {
						v := &config.Validation{}
						for _, a := range by {
							v.Authorities = append(v.Authorities, block("CERTIFICATE", a.cert.Raw)...)
						}
						var err error
						if trust, err = NewTrust(own, v); err != nil {
							t.Fatal(err)
						}
					}
					s.Set(&config.DownstreamTLS{Clients: &config.Clients{Optional: optional}}, served, trust, tickets)
				}
				clients := map[string]*tls.Config{}
				certificate := map[string]*tls.Certificate{"first": first.sign(t, x509.Certificate{DNSNames: []string{"one.test"}}), "second": second.sign(t, x509.Certificate{})}
				for _, who := range []string{"first", "second", "nobody"} {
					clients[who] = &tls.Config{ServerName: "a.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
					clients[who].GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						if c := certificate[who]; c != nil {
							return c, nil
						}
						return &tls.Certificate{}, nil
					}
				}
				want := func(step, who, outcome string) {
					t.Helper()
					state, err := shake(t, s, clients[who])
					got := "refused"
					if err == nil {
						got = map[bool]string{false: "new", true: "resumed"}[state.DidResume]
					}
					if got != outcome {
						t.Errorf("%s: %s: got %s (%v), want %s", step, who, got, err, outcome)
					}
				}
				set(false, nil)
				want("no authority is known", "first", "refused")
				set(true, nil)
				want("no authority is known, and none is needed", "nobody", "refused")

				set(false, nil, first)
				want("the first's", "first", "new")
				want("again", "first", "resumed")
				want("the second's", "second", "refused")
				want("none", "nobody", "refused")

				set(false, nil, first, second)
				want("another authority beside it", "first", "new")
				want("and again", "first", "resumed")
				want("its own", "second", "new")

				set(false, &config.Validation{Names: []config.AltName{{Text: config.Text{Value: "two.test"}}}}, first, second)
				want("another name", "first", "refused")

				set(false, nil, second)
				want("the authority is gone", "first", "refused")
				want("and its own is there", "second", "new")

				set(true, nil, second)
				want("optional", "nobody", "new")
				want("optional, again", "nobody", "resumed")
				want("optional, and a bad one", "first", "refused")
				set(false, nil, second)
				want("required again", "nobody", "refused")
			})
		}
	}
}

func TestForwarded(t *testing.T) {
	ca := newAuthority(t, "ca", nil)
	all := config.ForwardClient{Subject: true, DNS: true, URI: true}
	own := ca.sign(t, x509.Certificate{URIs: []*url.URL{address(t, "spiffe://a.test/edge"), address(t, "spiffe://a.test/other")}}).Leaf
	name := pkix.Name{Country: []string{"DE"}, Organization: []string{`A, "B" + C; <D>\`}, OrganizationalUnit: []string{" x ", "y"}, CommonName: "#é",
		ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@a.test"}, {Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("v")}}}}
	for _, test := range []struct {
		name string
		cert *tls.Certificate
		own  *x509.Certificate
		what config.ForwardClient
		want string
	}{
		{"nothing but the hash", ca.sign(t, x509.Certificate{DNSNames: []string{"a.test"}}), nil, config.ForwardClient{}, ""},
		{"nothing in it", ca.sign(t, x509.Certificate{}), nil, all, `;Subject="";URI=`},
		{"all", ca.sign(t, x509.Certificate{Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a.test", "b.test"}, URIs: []*url.URL{address(t, "spiffe://a.test/x?y"), address(t, "urn:b")}}), own, all,
			`;Subject="CN=a";URI=spiffe://a.test/x?y;URI=urn:b;DNS=a.test;DNS=b.test`},
		{"escapes", ca.sign(t, x509.Certificate{Subject: name}), nil, config.ForwardClient{Subject: true},
			`;Subject="1.2.3.4=#0C0176,emailAddress=a@a.test,CN=\#\C3\A9,OU=\ x\ +OU=y,O=A\, \"B\" \+ C\; \<D\>\\,C=DE"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Forwarded(test.cert.Leaf, test.own, test.what)
			before := ""
			if test.own != nil {
				before = "By=spiffe://a.test/edge;By=spiffe://a.test/other;"
			}
			want := regexp.MustCompile(`^` + before + `Hash=[0-9a-f]{64}` + regexp.QuoteMeta(test.want) + `$`)
			if !want.MatchString(got) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
