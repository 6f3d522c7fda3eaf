package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/source"
)

const (
	web      = "kind: Gateway\nname: web\nlisteners: [{name: http, port: 80, protocol: HTTP}]\n"
	shop     = "kind: Route\nname: shop\ngateways: [web]\nrules: [{backends: [{service: api}]}]\n"
	api      = "{kind: Service, name: api, endpoints: [127.0.0.1:1]}\n"
	apiTwo   = "{kind: Service, name: api, endpoints: [127.0.0.1:2]}\n"
	apiBad   = "{kind: Service, name: api, endpoints: [127.0.0.1:2], colour: red}\n"
	apiOff   = "kind: Service\nname: api\nendpoints: [127.0.0.1:2\n" // broken YAML
	nameless = "kind: Service\nnam: api\n"
	shopLost = "kind: Route\nname: shop\ngateways: [web]\nrules: [{backends: [{service: nope}]}]\n"
	shopHTTP = "kind: Route\nname: shop\ngateways: [web/http]\nrules: [{backends: [{service: api}]}]\n"
	webMoved = "kind: Gateway\nname: web\nlisteners: [{name: plain, port: 80, protocol: HTTP}]\n"
	late     = "kind: Gateway\nname: late\nlisteners: [{name: http, port: 80, protocol: HTTP}]\n"
)

// tree is the files of one moment: pairs of name and content. An empty content is a file that cannot be read.
type tree []string

func (f tree) files() []source.File {
	var files []source.File
	for i := 0; i < len(f); i += 2 {
		file := source.File{Path: f[i], Data: []byte(f[i+1])}
		if f[i+1] == "" {
			file = source.File{Path: f[i], Err: os.ErrPermission}
		}
		files = append(files, file)
	}
	return files
}

// state is what is served, in words.
func state(r *Result) string {
	var parts []string
	for _, f := range r.Compiled.Fleets {
		for _, l := range f.Listeners {
			for _, c := range l.Chains {
				parts = append(parts, c.Name)
			}
		}
		for _, t := range f.RouteTables {
			for _, h := range t.Hosts {
				for _, rule := range h.Rules {
					parts = append(parts, rule.ID)
				}
			}
		}
		for _, c := range f.Clusters {
			parts = append(parts, c.Name+"="+endpoints(c))
		}
	}
	return strings.Join(parts, " ")
}

func endpoints(c *ir.Cluster) string {
	var list []string
	for _, e := range c.Endpoints {
		list = append(list, e.Address.String())
	}
	return strings.Join(list, ",")
}

func words(r *Result) []string {
	var list []string
	for _, p := range r.Problems {
		if p.Severity == definition.SeverityError {
			list = append(list, p.Code+" "+p.Ref.String()+" "+p.Serving)
		}
	}
	return list
}

const all = "web/http Route/shop#any api=127.0.0.1:1"

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		name   string
		before tree // nil: cold start
		after  tree
		want   string
		errors []string
	}{
		{"fine", nil, tree{"a.yaml", web + "---\n" + shop + "---\n" + api}, all, nil},
		{"an edit", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop, "c", apiTwo}, "web/http Route/shop#any api=127.0.0.1:2", nil},
		{"an unknown field keeps the last good version", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop, "c", apiBad}, all,
			[]string{"SL0107 Service/api last good version"}},
		{"on a cold start there is none", nil, tree{"a", web, "b", shop, "c", apiBad}, "web/http",
			[]string{"SL0201 Route/shop nothing", "SL0107 Service/api nothing"}},
		{"broken YAML keeps what stood in the file", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop, "c", apiOff}, all,
			[]string{"SL0001 Service/api last good version"}},
		{"a document without a name may be any of the file", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop, "c", nameless}, all, nil},
		{"a file that cannot be read", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop, "c", ""}, all,
			[]string{"SL0401  last good version"}},
		{"a folder that cannot be read", tree{"a", web, "d/b", shop, "d/c", api}, tree{"a", web, "d", ""}, all,
			[]string{"SL0401  last good version"}},
		{"a folder of a longer name is another", tree{"a", web, "de/b", shop, "de/c", api}, tree{"a", web, "d", ""}, "web/http",
			[]string{"SL0401  nothing"}},
		{"a dangling reference keeps the last good Route", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shopLost, "c", api}, all,
			[]string{"SL0201 Route/shop last good version"}},
		{"deleted and not used", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "c", api}, "web/http", nil},
		{"deleted, but used", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shop}, all,
			[]string{"SL0201 Service/api last good version"}},
		{"a deleted Gateway, but used", tree{"a", web, "b", shop, "c", api}, tree{"b", shop, "c", api}, all,
			[]string{"SL0202 Gateway/web last good version"}},
		{"deleted, and used by a last good version", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "b", shopLost}, all,
			[]string{"SL0201 Route/shop last good version", "SL0201 Service/api last good version"}},
		{"all gone at once", tree{"a", web, "b", shop, "c", api}, tree{}, all, []string{"SL0401  last good version"}},
		{"all emptied at once", tree{"a", web, "b", shop, "c", api}, tree{"a", "# nothing\n"}, all, []string{"SL0401  last good version"}},
		{"all but one gone", tree{"a", web, "b", shop, "c", api}, tree{"c", api}, "", nil},
		{"a listener that a Route still joins", tree{"a", web, "b", shopHTTP, "c", api}, tree{"a", webMoved, "b", shopHTTP, "c", api}, all,
			[]string{"SL0203 Gateway/web last good version"}},
		{"a listener is renamed, and the Route with it", tree{"a", web, "b", shopHTTP, "c", api}, tree{"a", webMoved, "b", strings.Replace(shopHTTP, "web/http", "web/plain", 1), "c", api},
			"web/plain Route/shop#any api=127.0.0.1:1", nil},
		{"a newcomer wants a socket", tree{"z", web, "b", shop, "c", api}, tree{"a", late, "z", web, "b", shop, "c", api}, all,
			[]string{"SL0302 Gateway/late nothing"}},
		{"a newcomer wants a name", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "aa", apiTwo, "b", shop, "c", api}, all,
			[]string{"SL0301 Service/api nothing"}},
		{"the first of a name goes, the newcomer comes", tree{"a", web, "b", shop, "c", api}, tree{"a", web, "aa", apiTwo, "b", shop}, "web/http Route/shop#any api=127.0.0.1:2", nil},
		{"a cause and its effect: only the cause is held back", tree{"a", web, "b", shop, "c", api},
			tree{"a", web, "b", strings.Replace(shop, "gateways: [web]", "gateways: [web]\npriority: 7", 1), "c", apiBad}, all, []string{"SL0107 Service/api last good version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(Options{})
			if err != nil {
				t.Fatal(err)
			}
			var files Files
			if c.before != nil {
				if r := s.Update(files.Set(c.before.files())); words(r) != nil {
					t.Fatalf("got problems before: %v", r.Problems)
				}
			}
			r := s.Update(files.Set(c.after.files()))
			if got := state(r); got != c.want {
				t.Errorf("got served %q, want %q", got, c.want)
			}
			if got := words(r); c.name != "a document without a name may be any of the file" && !slices.Equal(got, c.errors) {
				t.Errorf("got errors %q, want %q", got, c.errors)
				for _, p := range r.Problems {
					t.Log(p.Error())
				}
			}
			// What is there a second time changes nothing.
			again := s.Update(files.Set(c.after.files()))
			if got := state(again); got != c.want {
				t.Errorf("got served %q at the second look, want %q", got, c.want)
			}
		})
	}
}

// TestHeal goes through trouble and out of it.
func TestHeal(t *testing.T) {
	s, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var files Files
	for i, step := range []struct {
		files tree
		want  string
		bad   int
	}{
		{tree{"a", web, "b", shop, "c", api}, all, 0},
		{tree{"a", web, "b", shop}, all, 1},
		{tree{"a", web, "b", shop}, all, 1},
		{tree{"a", web}, "web/http", 0},
		{tree{"a", web, "b", shop}, "web/http", 1}, // it was let go of
		{tree{"a", web, "b", shop, "c", apiBad}, "web/http", 2},
		{tree{"a", web, "b", shop, "c", apiTwo}, "web/http Route/shop#any api=127.0.0.1:2", 0},
		{tree{"a", web, "b", shop, "c", apiBad}, "web/http Route/shop#any api=127.0.0.1:2", 1},
		{tree{"a", web, "b", shop, "c", api}, all, 0},
	} {
		r := s.Update(files.Set(step.files.files()))
		if got := state(r); got != step.want || len(words(r)) != step.bad {
			t.Fatalf("step %d: got %q with %v, want %q with %d errors", i, got, words(r), step.want, step.bad)
		}
	}
}

const withCertificates = `kind: Gateway
name: web
listeners: [{name: https, port: 443, protocol: HTTPS, certificates: [made, files]}]
---
{kind: Certificate, name: made, selfSigned: {hosts: [localhost, a.example.com]}}
---
{kind: Certificate, name: files, files: {certificate: f.crt, privateKey: f.key}}
`

func TestCertificates(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	reopen := func() *Store {
		s, err := Open(Options{Dir: state, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write := func(c certificate) {
		for name, data := range map[string][]byte{"f.crt": c.Chain, "f.key": c.Key} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := reopen()
	first, err := s.certs.make([]string{"f.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	second, _ := s.certs.make([]string{"f.example.com"})
	write(first)
	var files Files
	update := func() (r *Result, made, file string) {
		r = s.Update(files.Set(tree{filepath.Join(dir, "a.yaml"), withCertificates}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Compiled.Fleets[0].Certificates {
			if c.Name == "made" {
				made = string(c.Chain)
			} else {
				file = string(c.Chain)
			}
		}
		return r, made, file
	}
	r, made, file := update()
	if len(words(r)) > 0 || made == "" || file != string(first.Chain) {
		t.Fatalf("got %v, want both certificates", words(r))
	}
	if want := []string{filepath.Join(dir, "f.crt"), filepath.Join(dir, "f.key")}; !slices.Equal(r.Files, want) {
		t.Errorf("got files %v, want %v", r.Files, want)
	}

	// A key that does not match keeps the old pair, across a restart too.
	write(certificate{Chain: second.Chain, Key: first.Key})
	for range 2 {
		r, madeNow, fileNow := update()
		if !slices.Equal(words(r), []string{"SL0403 Certificate/files last good version"}) || fileNow != file || madeNow != made {
			t.Errorf("got %v, want the old pair on, and the one we made", words(r))
		}
		s.Close()
		s = reopen()
	}
	write(certificate{})
	if r, _, fileNow := update(); !slices.Equal(words(r), []string{"SL0402 Certificate/files last good version"}) || fileNow != file {
		t.Errorf("got %v, want the old pair on", words(r))
	}
	os.Remove(filepath.Join(dir, "f.key"))
	write(second)
	if r, _, fileNow := update(); len(words(r)) > 0 || fileNow != string(second.Chain) {
		t.Errorf("got %v, want the new pair", words(r))
	}

	// What we made is made anew a month before it expires.
	now = now.Add(selfSignedFor - renewBefore - 2*time.Hour)
	if _, madeNow, _ := update(); madeNow != made {
		t.Error("got another self-signed certificate too early")
	}
	now = now.Add(4 * time.Hour)
	if _, madeNow, _ := update(); madeNow == made {
		t.Error("got the old self-signed certificate, want a new one a month before it expires")
	}
	s.Close()
	for _, name := range []string{certificatesFile, documentsFile} {
		if info, err := os.Stat(filepath.Join(state, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v, want mode 600", info.Mode(), err)
		}
	}
}
