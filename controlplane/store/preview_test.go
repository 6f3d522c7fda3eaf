package store

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

func same(file string) string { return file }

// TestPreview: it says what an Update would come to, and nothing is other afterwards.
func TestPreview(t *testing.T) {
	s, _ := open(t, t.TempDir())
	var files Files
	s.Update(files.Set(tree{"a", web, "b", shop, "c", api}.files()))
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		after  tree
		want   string
		errors []string
	}{
		{"the same", tree{"a", web, "b", shop, "c", api}, all, nil},
		{"an edit", tree{"a", web, "b", shop, "c", apiTwo}, "web/http Route/shop#any api=127.0.0.1:2", nil},
		{"a bad one keeps the last good version", tree{"a", web, "b", shop, "c", apiBad}, all, []string{"SL0107 Service/api last good version"}},
		{"deleted, but used", tree{"a", web, "b", shop}, all, []string{"SL0201 Service/api last good version"}},
		{"broken, in a file that is called otherwise here", tree{"a", web, "b", shop, "there/c", apiOff}, all, []string{"SL0001 Service/api last good version"}},
		{"a file that cannot be read there", tree{"a", web, "b", shop, "there/c", ""}, all, []string{"SL0401  last good version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			accepted := maps.Clone(s.accepted)
			var parse Files
			p := s.Preview(nil, func(file string) string {
				if slices.Contains(c.after, "there/"+file) {
					return "there/" + file
				}
				return file
			}).Update(parse.Set(c.after.files()))
			if got := state(p); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := words(p); !slices.Equal(got, c.errors) {
				t.Errorf("got errors %q, want %q", got, c.errors)
			}
			if !maps.Equal(accepted, s.accepted) || len(s.documents.changed) > 0 || s.dirtySockets || s.certs.dirty {
				t.Error("the store is not as it was")
			}
		})
	}
	if got := state(s.Update(files.Set(tree{"a", web, "b", shop, "c", api}.files()))); got != all {
		t.Errorf("afterwards: got %q, want %q", got, all)
	}
}

// TestPreviewMaterials: certificates are compared by what their files hold elsewhere; no file is opened, and no key is
// told.
func TestPreviewMaterials(t *testing.T) {
	const (
		gateway = "kind: Gateway\nname: web\nlisteners: [{name: https, port: 443, protocol: HTTPS, certificates: [shop]}]\n"
		cert    = "{kind: Certificate, name: shop, files: {certificate: shop.crt, privateKey: shop.key}}\n"
		bundle  = "{kind: TrustBundle, name: ca, files: [ca.pem]}\n"
	)
	ref, caRef := definition.Ref{Kind: "Certificate", Name: "shop"}, definition.Ref{Kind: "TrustBundle", Name: "ca"}
	maker := newCertificates(time.Now)
	made := func(host string) certificate {
		c, err := maker.make([]string{host})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now, other := made("a.example.com"), made("b.example.com")
	material := func(c certificate) Material { return Material{Chain: c.Chain, KeySum: KeySum(c.Key)} }
	unreadable := Material{Err: &compile.CertificateError{Code: definition.CodeMissingFile, Field: "files.certificate", Err: errors.New("got shop.crt, which cannot be read")}}
	mixed := material(now)
	mixed.KeySum = KeySum(other.Key) // a new key with the old certificate: nothing that works, but it must be seen

	s, _ := open(t, "")
	s.certs.good["shop"] = now
	for name, c := range map[string]struct {
		materials    map[definition.Ref]Material
		host         string // that the chain is for
		other, taken bool
		errors       []string
	}{
		"the same":                 {map[definition.Ref]Material{ref: material(now)}, "a.example.com", false, false, nil},
		"another":                  {map[definition.Ref]Material{ref: material(other)}, "b.example.com", true, false, nil},
		"another key alone":        {map[definition.Ref]Material{ref: mixed}, "a.example.com", true, false, nil},
		"not readable there":       {map[definition.Ref]Material{ref: unreadable}, "a.example.com", false, true, nil},
		"nothing is told":          {nil, "a.example.com", false, true, nil},
		"what is no certificate":   {map[definition.Ref]Material{ref: {Chain: []byte("x"), KeySum: "1"}}, "a.example.com", false, false, []string{"SL0402 Certificate/shop nothing"}},
		"authorities that are not": {map[definition.Ref]Material{ref: material(now), caRef: {Chain: []byte("x")}}, "a.example.com", false, false, []string{"SL0402 TrustBundle/ca nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, told := c.materials[caRef]; !told {
				if c.materials == nil {
					c.materials = map[definition.Ref]Material{}
				}
				c.materials[caRef] = Material{Chain: now.Chain}
			}
			var parse Files
			preview := s.Preview(c.materials, same)
			p := preview.Update(parse.Set(tree{"a", gateway, "b", cert, "c", bundle}.files()))
			if len(p.Compiled.Fleets) != 1 || len(p.Compiled.Fleets[0].Listeners) != 1 {
				t.Fatalf("got no listener: %v", p.Problems)
			}
			names := p.Compiled.Fleets[0].Listeners[0].Chains[0].ServerNames
			if !slices.Equal(names, []string{c.host}) {
				t.Errorf("got a chain for %q, want %q", names, c.host)
			}
			got, isOther := preview.Other["shop"]
			if isOther != c.other || slices.Contains(preview.Taken, ref) != c.taken {
				t.Errorf("got other %v, taken %v", isOther, preview.Taken)
			}
			if isOther && (!bytes.Equal(got.Chain, c.materials[ref].Chain) || strings.Contains(string(got.Key), "PRIVATE")) {
				t.Errorf("got %s", got.Chain)
			}
			if got := words(p); !slices.Equal(got, c.errors) {
				t.Errorf("got errors %q, want %q", got, c.errors)
			}
		})
	}
	// Where none is served, what is said of the files is what is wrong.
	empty, _ := open(t, "")
	var parse Files
	p := empty.Preview(map[definition.Ref]Material{ref: unreadable}, same).Update(parse.Set(tree{"a", gateway, "b", cert}.files()))
	if got := words(p); !slices.Contains(got, "SL0401 Certificate/shop nothing") {
		t.Errorf("got errors %q", got)
	}
}
