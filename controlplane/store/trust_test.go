package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const withTrust = `kind: Gateway
name: web
listeners: [{name: https, port: 443, protocol: HTTPS, certificates: [ca], clientCertificates: {trustBundle: ca}}]
---
{kind: TrustBundle, name: ca, files: [a.pem, b.pem]}
---
{kind: Certificate, name: ca, selfSigned: {hosts: [a.example.com]}}
`

// TestTrustBundles: their files are watched; bad ones leave the last good state, across a restart too. A Certificate of the same name
// is another thing.
func TestTrustBundles(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	reopen := func() *Store {
		s, err := Open(Options{Dir: state, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := reopen()
	made := func() string {
		c, err := s.certs.make([]string{"authority"})
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Chain)
	}
	first, second, third := made(), made(), made()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var files Files
	update := func() (*Result, string) {
		r := s.Update(files.Set(tree{filepath.Join(dir, "a.yaml"), withTrust}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		if len(r.Compiled.Fleets) == 0 || len(r.Compiled.Fleets[0].TrustBundles) == 0 {
			return r, ""
		}
		return r, string(r.Compiled.Fleets[0].TrustBundles[0].Authorities)
	}
	if r, got := update(); got != "" || len(r.Problems) == 0 {
		t.Fatalf("got %v, want the listener left out while its authorities are not there", words(r))
	}
	write("a.pem", first)
	write("b.pem", second[:len(second)-1]) // without a line end
	r, got := update()
	if len(words(r)) > 0 || got != first+second {
		t.Fatalf("got %v, want both files", words(r))
	}
	if want := []string{filepath.Join(dir, "a.pem"), filepath.Join(dir, "b.pem")}; !slices.Equal(r.Files, want) {
		t.Errorf("got files %v, want %v", r.Files, want)
	}
	for bad, code := range map[string]string{
		first[:100]: "SL0402", "": "SL0402", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n": "SL0402",
	} {
		write("b.pem", bad)
		for range 2 {
			if r, now := update(); !slices.Equal(words(r), []string{code + " TrustBundle/ca last good version"}) || now != got {
				t.Errorf("%.20q: got %v, want the old state on", bad, words(r))
			}
			s.Close()
			s = reopen()
		}
	}
	os.Remove(filepath.Join(dir, "b.pem"))
	if r, now := update(); !slices.Equal(words(r), []string{"SL0401 TrustBundle/ca last good version"}) || now != got {
		t.Errorf("got %v, want the old state on", words(r))
	}
	write("b.pem", third)
	if r, now := update(); len(words(r)) > 0 || now != first+third {
		t.Errorf("got %v, want the new state", words(r))
	}
	s.Close()
}
