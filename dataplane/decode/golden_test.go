package decode

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/types/known/anypb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/redact"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// translated is what our control plane sends: its golden files, since the planes do not import each other.
const translated = "../../controlplane/translate/testdata/*.yaml"

// keyPair makes a certificate and its key.
func keyPair(t testing.TB) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// unredact puts a real certificate, or ticket keys, into a secret whose own were hidden.
func unredact(t testing.TB, r *anypb.Any, chain, key []byte) {
	t.Helper()
	var s tlspb.Secret
	if err := r.UnmarshalTo(&s); err != nil {
		t.Fatal(err)
	}
	if tickets := s.GetSessionTicketKeys(); tickets != nil {
		for i, k := range tickets.GetKeys() {
			if k.GetInlineString() != redact.Text {
				t.Fatalf("secret %q: the golden file shows a key", s.GetName())
			}
			k.Specifier = &corepb.DataSource_InlineString{InlineString: strings.Repeat(fmt.Sprint(i), config.TicketKeySize)}
		}
		if err := r.MarshalFrom(&s); err != nil {
			t.Fatal(err)
		}
		return
	}
	if v := s.GetValidationContext(); v != nil {
		v.TrustedCa = &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: chain}}
		if err := r.MarshalFrom(&s); err != nil {
			t.Fatal(err)
		}
		return
	}
	if s.GetTlsCertificate().GetPrivateKey().GetInlineString() != redact.Text {
		t.Fatalf("secret %q: the golden file shows a key", s.GetName())
	}
	s.GetTlsCertificate().CertificateChain = &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: chain}}
	s.GetTlsCertificate().PrivateKey = &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: key}}
	if err := r.MarshalFrom(&s); err != nil {
		t.Fatal(err)
	}
}

// What our control plane sends is understood in full.
func TestGoldenTranslated(t *testing.T) {
	files, err := filepath.Glob(translated)
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d golden files of translate and error %v, want some", len(files), err)
	}
	chain, key := keyPair(t)
	wanted := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		path := filepath.Join("testdata", "translated", name+".txt")
		wanted[path] = true
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, r := range resources(t, text) {
				if r.GetTypeUrl() == resource.SecretType {
					unredact(t, r, chain, key)
				}
				value, err := decodeAny(r)
				if err != nil {
					t.Error(err)
					continue
				}
				if r.GetTypeUrl() != resource.SecretType {
					got.WriteString("---" + describe(value))
				}
			}
			compare(t, path, got.Bytes())
		})
	}
	orphans(t, "testdata/translated/*", wanted)
}

// TestResources reads testdata/*.txtar, pairs of NAME.yaml (a resource) and NAME.txt: what it is here, or why it is
// refused.
func TestResources(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files and error %v, want some", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, out := txtar.Parse(text), &txtar.Archive{}
		out.Comment = in.Comment
		wantRefusal := strings.HasPrefix(filepath.Base(file), "refused")
		for _, f := range in.Files {
			name, ok := strings.CutSuffix(f.Name, ".yaml")
			if !ok {
				continue
			}
			t.Run(name, func(t *testing.T) {
				rs := resources(t, f.Data)
				if len(rs) != 1 {
					t.Fatalf("%s: got %d resources, want one", f.Name, len(rs))
				}
				value, err := decodeAny(rs[0])
				got := ""
				if err != nil {
					got = strings.ReplaceAll(err.Error(), "; ", ";\n  ") + "\n"
				} else {
					got = strings.TrimPrefix(describe(value), " ")
				}
				if (err != nil) != wantRefusal {
					t.Errorf("%s: got %s", f.Name, got)
				}
				out.Files = append(out.Files, f, txtar.File{Name: name + ".txt", Data: []byte(got)})
			})
		}
		compare(t, file, txtar.Format(out))
	}
}

// compare wants the file to hold got, or writes it.
func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: run with -update, and read the diff (-want +got):\n%s", path, diff)
	}
}

// orphans are golden files that no test writes.
func orphans(t *testing.T, pattern string, wanted map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if wanted[f] {
			continue
		}
		if !*update {
			t.Error(fmt.Errorf("%s: no test writes it", f))
		} else if err := os.Remove(f); err != nil {
			t.Error(err)
		}
	}
}
