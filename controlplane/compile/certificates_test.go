package compile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	rand2 "crypto/rand"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

func TestCheckCertificate(t *testing.T) {
	chain, key := pair(t, time.Now().Add(time.Hour), "a.example.com")
	_, otherKey := pair(t, time.Now().Add(time.Hour), "b.example.com")
	rsaKey, err := rsa.GenerateKey(rand2.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	cut := chain[:len(chain)/2]
	with := func(key crypto.Signer) (chain, pkcs8 []byte) {
		return pairOf(t, key, time.Now().Add(time.Hour), "a.example.com")
	}
	weakRSA, err := rsa.GenerateKey(rand2.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, weakKey := with(weakRSA)
	strong, strongKey := with(rsaKey)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand2.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd, oddKey := with(p224)
	_, edPrivate, err := ed25519.GenerateKey(rand2.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, edwardsKey := with(edPrivate)
	agrees, agreesKey := agreeing(t)
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	for _, c := range []struct {
		name, code, field, text string
		chain, key              []byte
	}{
		{"fine", "", "", "", chain, key},
		{"text before the blocks", "", "", "", append([]byte("subject\n"), chain...), append([]byte("EC key\n"), key...)},
		{"empty", definition.CodeBadCertificate, "files.certificate", "no PEM block", nil, key},
		{"not PEM", definition.CodeBadCertificate, "files.certificate", "no PEM block", []byte("hello"), key},
		{"the key in the certificate's place", definition.CodeBadCertificate, "files.certificate", "got a private key", key, key},
		{"not a certificate", definition.CodeBadCertificate, "files.certificate", "certificate 1", broken, key},
		{"a broken intermediate", definition.CodeBadCertificate, "files.certificate", "certificate 2", append(bytes.Clone(chain), broken...), key},
		{"no key", definition.CodeBadCertificate, "files.privateKey", "no PEM block", chain, nil},
		{"the certificate in the key's place", definition.CodeBadCertificate, "files.privateKey", "no PEM block PRIVATE KEY", chain, chain},
		{"an encrypted key", definition.CodeBadCertificate, "files.privateKey", "encrypted", chain, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})},
		{"an encrypted key of old", definition.CodeBadCertificate, "files.privateKey", "encrypted", chain,
			pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})},
		{"RSA", "", "", "", strong, strongKey},
		{"Ed25519", "", "", "", edwards, edwardsKey},
		{"RSA of 1024 bits", definition.CodeBadCertificate, "files.certificate", "got an RSA key of 1024 bits", weak, weakKey},
		{"another curve", definition.CodeBadCertificate, "files.certificate", "got an ECDSA key on P-224", odd, oddKey},
		{"a key that may only agree on keys", definition.CodeBadCertificate, "files.certificate", "no digitalSignature", agrees, agreesKey},
		{"another kind of certificate", definition.CodeBadCertificate, "files.certificate", "got a PEM block TRUSTED CERTIFICATE",
			bytes.ReplaceAll(chain, []byte(" CERTIFICATE"), []byte(" TRUSTED CERTIFICATE")), key},
		{"cut short", definition.CodeBadCertificate, "files.certificate", "a PEM block that is cut short", cut, key},
		{"an intermediate cut short", definition.CodeBadCertificate, "files.certificate", "a PEM block that is cut short", slices.Concat(chain, cut), key},
		{"one cut short in the middle", definition.CodeBadCertificate, "files.certificate", "a PEM block that is cut short", slices.Concat(chain, cut, []byte("\n"), chain), key},
		{"another key", definition.CodeKeyMismatch, "files.privateKey", "does not belong to the certificate of a.example.com", chain, otherKey},
		{"a key of another kind", definition.CodeKeyMismatch, "files.privateKey", "does not belong", chain, pkcs1},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf, bad := CheckCertificate(c.chain, c.key)
			if c.code == "" {
				if bad != nil || leaf == nil {
					t.Fatalf("got %v, want it to be fine", bad)
				}
				return
			}
			if bad == nil || bad.Code != c.code || bad.Field != c.field || !strings.Contains(bad.Error(), c.text) {
				t.Errorf("got %+v, want %s at %s with %q", bad, c.code, c.field, c.text)
			}
		})
	}
}

// agreeing is an ECDSA certificate that is not for signatures.
func agreeing(t *testing.T) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand2.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, key = pairOf(t, k, time.Now().Add(time.Hour), "a.example.com")
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example.com"}, KeyUsage: x509.KeyUsageKeyAgreement}
	der, err := x509.CreateCertificate(rand2.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

const oneCertificate = `kind: Gateway
name: web
listeners: [{name: https, port: 443, protocol: HTTPS, certificates: [c]}]
---
{kind: Certificate, name: c, files: {certificate: c.crt, privateKey: c.key}}
---
{kind: Service, name: s, hosts: [a.example.com], gateways: [web], endpoints: [127.0.0.1:1]}
`

func TestCertificateProblems(t *testing.T) {
	documents, problems := definition.Parse("a.yaml", []byte(oneCertificate))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	now := time.Now()
	good, goodKey := pair(t, now.Add(time.Hour), "a.example.com")
	expired, expiredKey := pair(t, now.Add(-time.Hour), "a.example.com")
	early, earlyKey := pair(t, now.Add(72*time.Hour), "a.example.com")
	for _, c := range []struct {
		name       string
		chain, key []byte
		err        error
		want       []string // code and severity
		served     bool
	}{
		{"fine", good, goodKey, nil, nil, true},
		{"expired serves on, with a warning", expired, expiredKey, nil, []string{"SL0604 warning"}, true},
		{"not valid yet serves too", early, earlyKey, nil, []string{"SL0604 warning"}, true},
		{"gone: reported, also where it is named", nil, nil, errors.New("gone"), []string{"SL0204 error", "SL0401 error", "SL0203 error"}, false},
		{"bad on disk: the earlier bytes serve on", good, goodKey, &CertificateError{definition.CodeKeyMismatch, "files.privateKey", errors.New("mismatch")}, []string{"SL0403 error"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := Compile(Input{Documents: documents, Now: now, Certificates: func(*definition.Document) ([]byte, []byte, error) { return c.chain, c.key, c.err }})
			var got []string
			for _, p := range out.Problems {
				got = append(got, p.Code+" "+string(p.Severity))
			}
			if strings.Join(got, ",") != strings.Join(c.want, ",") {
				t.Errorf("got problems %v, want %v", got, c.want)
			}
			if served := len(out.Fleets[0].Listeners) == 1; served != c.served {
				t.Errorf("got served %v, want %v", served, c.served)
			}
		})
	}
}

// A listener that nothing joins is told of, but not beside an error that may be why.
func TestIdleListener(t *testing.T) {
	const text = "kind: Gateway\nname: web\nlisteners: [{name: http, port: 80, protocol: HTTP}]\n---\n{kind: Service, name: s, hosts: [a.example.com], endpoints: [127.0.0.1:1]}\n"
	for _, c := range []struct{ name, text, want string }{
		{"gateways forgotten", text, "SL0605"},
		{"joined", strings.Replace(text, "hosts:", "gateways: [web], hosts:", 1), ""},
		{"beside what cannot be read", text + "---\n{kind: Route, name: r, gateways: [web], rule: []}\n", ""},
		{"beside an error", text + "---\n{kind: Route, name: r, gateways: [web], rules: [{backends: [{service: nobody}]}]}\n", "SL0201"},
	} {
		documents, problems := definition.Parse("a.yaml", []byte(c.text))
		held := map[definition.Ref]definition.Position{}
		for _, p := range problems {
			held[p.Ref] = definition.Position{File: "a.yaml", Line: p.Line}
		}
		var got []string
		chain, key := pair(t, time.Now().Add(time.Hour), "localhost")
		for _, p := range Compile(Input{Documents: documents, HeldBack: held, Certificates: func(*definition.Document) ([]byte, []byte, error) { return chain, key, nil }}).Problems {
			if p.Code != definition.CodeUnusedService {
				got = append(got, p.Code)
			}
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
		}
	}
}
