package compile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	rand2 "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compiles testdata/*.txtar. Files served/* are what is served already; those ending in .yaml are the
// definitions; "ir" and "problems" are what is wanted.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("got %v, %v, want golden files", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in := Input{Certificates: selfSigned(t), Now: time.Now(), Served: map[definition.Ref]*definition.Document{}}
			kept := txtar.Archive{Comment: archive.Comment}
			for _, f := range archive.Files {
				if !strings.HasSuffix(f.Name, ".yaml") {
					continue
				}
				kept.Files = append(kept.Files, f)
				name, served := strings.CutPrefix(f.Name, "served/")
				documents, problems := definition.Parse(name, f.Data)
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				if !served {
					in.Documents = append(in.Documents, documents...)
					continue
				}
				for _, d := range documents {
					in.Served[d.Ref] = d
				}
			}
			out := Compile(in)
			got := kept
			got.Files = append(got.Files, txtar.File{Name: "ir", Data: []byte(render(out.Fleets))}, txtar.File{Name: "problems", Data: []byte(renderProblems(out.Problems))})
			if *update {
				if err := os.WriteFile(path, txtar.Format(&got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(&got))); diff != "" {
				t.Errorf("got another output (+) than wanted (-); -update writes it:\n%s", diff)
			}
			for range 5 { // the order of documents means nothing
				rand.Shuffle(len(in.Documents), func(i, j int) { in.Documents[i], in.Documents[j] = in.Documents[j], in.Documents[i] })
				if again := Compile(in); !same(out, again) {
					t.Fatalf("got another output in another order of documents:\n%s", cmp.Diff(render(out.Fleets)+renderProblems(out.Problems), render(again.Fleets)+renderProblems(again.Problems)))
				}
			}
			checkPromises(t, out)
		})
	}
}

// same compares all that there is; Origins is a function of its own.
func same(a, b *Output) bool {
	x, y := *a, *b
	x.Origins, y.Origins = nil, nil
	return reflect.DeepEqual(x, y) && reflect.DeepEqual(a.Origins(), b.Origins())
}

// checkPromises looks for what ir promises.
func checkPromises(t *testing.T, out *Output) {
	t.Helper()
	for _, f := range out.Fleets {
		clusters := map[string]bool{}
		for _, c := range f.Clusters {
			clusters[c.Name] = true
		}
		tables := map[string]bool{}
		for _, table := range f.RouteTables {
			tables[table.Name] = true
			hosts := map[string]bool{}
			for _, h := range table.Hosts {
				if hosts[h.Host] || h.Name != h.Host {
					t.Errorf("fleet %s: table %s: host %s stands twice or under another name", f.Name, table.Name, h.Host)
				}
				hosts[h.Host] = true
				for _, r := range h.Rules {
					if _, ok := out.Origins()[r.ID]; !ok {
						t.Errorf("rule %s has no origin", r.ID)
					}
					for _, b := range r.Backends {
						if !clusters[b.Cluster] {
							t.Errorf("rule %s: cluster %s is not in fleet %s", r.ID, b.Cluster, f.Name)
						}
					}
				}
			}
		}
		for _, l := range f.Listeners {
			names := map[string]bool{}
			for _, c := range l.Chains {
				if c.HTTP != nil && !tables[c.HTTP.RouteTable] {
					t.Errorf("chain %s: table %s is not there", c.Name, c.HTTP.RouteTable)
				}
				for _, n := range c.ServerNames {
					if names[n] {
						t.Errorf("listener %s: server name %s stands twice", l.Name, n)
					}
					names[n] = true
				}
			}
		}
	}
}

// selfSigned makes the bytes of Certificates: for their selfSigned hosts, or for the name of their certificate file,
// where "+" parts hosts.
func selfSigned(t *testing.T) func(*definition.Document) ([]byte, []byte, error) {
	made := map[string][2][]byte{}
	return func(d *definition.Document) ([]byte, []byte, error) {
		if m, ok := d.Message.(*sluicev1.TrustBundle); ok {
			if m.GetFiles()[0] == "missing.pem" {
				return nil, nil, &CertificateError{Code: definition.CodeMissingFile, Field: "files[0]", Err: fmt.Errorf("got missing.pem, which cannot be read: no such file")}
			}
			until := time.Now().Add(time.Hour)
			if m.GetFiles()[0] == "old.pem" {
				until = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			name := "authority of " + m.GetFiles()[0]
			if made[name][0] == nil {
				chain, _ := pair(t, until, "authority")
				made[name] = [2][]byte{chain}
			}
			return made[name][0], nil, nil
		}
		m := definition.WithDefaults(d.Message.(*sluicev1.Certificate))
		hosts := m.GetSelfSigned().GetHosts()
		if f := m.GetFiles(); f != nil {
			hosts = strings.Split(strings.TrimSuffix(f.GetCertificate(), ".crt"), "+")
		}
		if hosts[0] == "missing" {
			return nil, nil, &CertificateError{Code: definition.CodeMissingFile, Field: "files.certificate", Err: fmt.Errorf("got missing.crt, which cannot be read: no such file")}
		}
		k := strings.Join(hosts, "+")
		if made[k][0] == nil {
			chain, key := pair(t, time.Now().Add(time.Hour), hosts...)
			made[k] = [2][]byte{chain, key}
		}
		return made[k][0], made[k][1], nil
	}
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

func pair(t testing.TB, until time.Time, hosts ...string) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand2.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pairOf(t, k, until, hosts...)
}

func pairOf(t testing.TB, k crypto.Signer, until time.Time, hosts ...string) (chain, key []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts, NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand2.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

func renderProblems(problems []definition.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s %s %s\n", p.Code, p.Severity, p.Error())
	}
	return b.String()
}

// render writes ir for people.
func render(fleets []*ir.Fleet) string {
	var b strings.Builder
	for _, f := range fleets {
		fmt.Fprintf(&b, "fleet %s\n", f.Name)
		for _, l := range f.Listeners {
			fmt.Fprintf(&b, "  listener %s", l.Name)
			if l.ProxyProtocol != ir.ProxyHeaderNone {
				fmt.Fprintf(&b, " with %s", wording[l.ProxyProtocol])
			}
			b.WriteByte('\n')
			for _, c := range l.Chains {
				renderChain(&b, "chain", c)
			}
			if l.Default != nil {
				renderChain(&b, "default", *l.Default)
			}
		}
		for _, t := range f.RouteTables {
			fmt.Fprintf(&b, "  routes %s\n", t.Name)
			for _, h := range t.Hosts {
				fmt.Fprintf(&b, "    host %s\n", h.Host)
				for _, r := range h.Rules {
					fmt.Fprintf(&b, "      %s:%s ->%s%s\n", r.ID, renderMatch(r.Match), renderAction(r), after(" timeout ", r.Timeout))
				}
			}
		}
		for _, c := range f.Clusters {
			fmt.Fprintf(&b, "  cluster %s connect %s http2 %v policy %d choices %d", c.Name, c.ConnectTimeout, c.HTTP2, c.Policy, c.ChoiceCount)
			if c.ProxyProtocol != 0 {
				fmt.Fprintf(&b, " proxy v%d", c.ProxyProtocol)
			}
			if t := c.TLS; t != nil {
				fmt.Fprintf(&b, " TLS to %q", t.ServerName)
				if t.Validation != nil {
					fmt.Fprintf(&b, " by %s for %v", t.Validation.TrustBundle, t.Validation.Names)
				}
				if t.Certificate != "" {
					fmt.Fprintf(&b, " as %s", t.Certificate)
				}
			}
			if len(c.HashOn) > 0 {
				fmt.Fprintf(&b, " hash on %+v, ring %d to %d, table %d", c.HashOn, c.MinRingSize, c.MaxRingSize, c.TableSize)
			}
			if c.PanicThreshold > 0 {
				fmt.Fprintf(&b, " panic below %d %%", c.PanicThreshold)
			}
			if c.SlowStart != nil {
				fmt.Fprintf(&b, " slow start %+v", *c.SlowStart)
			}
			if c.ZoneWeights != nil {
				fmt.Fprintf(&b, " zones %v", c.ZoneWeights)
			}
			if h := c.HealthCheck; h != nil {
				fmt.Fprintf(&b, " asked by http %+v grpc %+v every %s, ill %s, +%s, in %s, thresholds %d %d", h.HTTP, h.GRPC,
					h.Interval, h.UnhealthyInterval, h.Jitter, h.Timeout, h.HealthyThreshold, h.UnhealthyThreshold)
			}
			if c.Outliers != nil {
				fmt.Fprintf(&b, " outliers %+v", *c.Outliers)
			}
			if c.DNS != nil {
				fmt.Fprintf(&b, " names by proxies %+v", *c.DNS)
			}
			if c.SRV != nil {
				fmt.Fprintf(&b, " records by us %+v", *c.SRV)
			}
			for _, e := range c.Endpoints {
				fmt.Fprintf(&b, " %s*%d", e.Address, e.Weight)
				if e.Priority > 0 || e.Zone != "" {
					fmt.Fprintf(&b, " (%d %s)", e.Priority, e.Zone)
				}
			}
			b.WriteByte('\n')
		}
		for _, t := range f.TrustBundles {
			fmt.Fprintf(&b, "  trust %s\n", t.Name)
		}
		for _, c := range f.Certificates {
			fmt.Fprintf(&b, "  certificate %s\n", c.Name)
		}
	}
	return b.String()
}

func after(text string, d time.Duration) string {
	if d == 0 {
		return ""
	}
	return text + d.String()
}

func renderChain(b *strings.Builder, kind string, c ir.FilterChain) {
	fmt.Fprintf(b, "    %s %s", kind, c.Name)
	if len(c.ServerNames) > 0 {
		fmt.Fprintf(b, " for %s", strings.Join(c.ServerNames, " "))
	}
	if c.Certificate != "" {
		fmt.Fprintf(b, " certificate %s", c.Certificate)
	}
	if v := c.Clients; v != nil {
		fmt.Fprintf(b, " clients by %s", v.TrustBundle)
		if v.Optional {
			b.WriteString(" or none")
		}
		if len(v.Names) > 0 {
			fmt.Fprintf(b, " for %v", v.Names)
		}
		if c.HTTP != nil && c.HTTP.ForwardClient {
			b.WriteString(" told")
		}
	}
	if c.Passthrough {
		b.WriteString(" passed through")
	}
	if c.Unlogged {
		b.WriteString(" unlogged")
	}
	if c.HTTP != nil {
		fmt.Fprintf(b, " routes %s%s", c.HTTP.RouteTable, after(" idle ", c.HTTP.IdleTimeout))
	}
	if c.TCP != nil {
		fmt.Fprintf(b, " tcp%s%s", renderBackends(c.TCP.Backends), after(" idle ", c.TCP.IdleTimeout))
	}
	b.WriteByte('\n')
}

func renderMatch(m ir.Match) string {
	var b strings.Builder
	if m.Method != "" {
		b.WriteString(" " + m.Method)
	}
	if m.PathKind != ir.PathAny {
		fmt.Fprintf(&b, " %s %s", []string{"any", "exact", "prefix", "rawPrefix", "regex"}[m.PathKind], m.Path)
	}
	for _, h := range m.Headers {
		b.WriteString(map[bool]string{true: " not"}[h.Invert] + " " + h.Name + renderText(h.Text))
	}
	for _, q := range m.Query {
		b.WriteString(" ?" + q.Name + renderText(q.Text))
	}
	if m.GRPC {
		b.WriteString(" grpc")
	}
	if len(m.Sources) > 0 {
		fmt.Fprintf(&b, " from %v", m.Sources)
	}
	if m.Fraction != nil {
		fmt.Fprintf(&b, " %d/1000000", *m.Fraction)
	}
	return b.String()
}

func renderText(t ir.Text) string {
	return []string{"=", " prefix ", " suffix ", " contains ", " regex ", " present", " absent"}[t.Kind] + map[bool]string{true: fmt.Sprintf("%q", t.Value)}[t.Kind < ir.TextPresent]
}

func renderAction(r ir.Rule) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf(" redirect %+v", *r.Redirect)
	case r.Respond != nil:
		return fmt.Sprintf(" respond %d %q", r.Respond.Status, r.Respond.Body)
	}
	text := renderBackends(r.Backends)
	if r.Rewrite != nil {
		text += fmt.Sprintf(" rewrite %+v", *r.Rewrite)
	}
	if r.Retry != nil {
		text += fmt.Sprintf(" retry %+v", *r.Retry)
	}
	return text
}

func renderBackends(backends []ir.Backend) string {
	var b strings.Builder
	for _, x := range backends {
		fmt.Fprintf(&b, " %s*%d", x.Cluster, x.Weight)
	}
	return b.String()
}

// TestComments checks that a comment above everything changes nothing but where things stand.
func TestComments(t *testing.T) {
	text := "kind: Service\nname: hello\nhosts: [hello.localhost]\nendpoints: [127.0.0.1:3000]\n"
	certificates := selfSigned(t)
	compiled := func(text string) *Output {
		documents, problems := definition.Parse("a.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return Compile(Input{Documents: documents, Certificates: certificates})
	}
	before, after := compiled(text), compiled("# a comment\n\n"+text)
	if !reflect.DeepEqual(before.Fleets, after.Fleets) {
		t.Error("got other fleets after a comment, want the same")
	}
	if before.Origins()["Service/hello"].Line+2 != after.Origins()["Service/hello"].Line {
		t.Errorf("got %v and %v, want the origin two lines further", before.Origins(), after.Origins())
	}
}

func TestCoversHosts(t *testing.T) {
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{"*", "a.b", true}, {"*", "*.b", true}, {"a.b", "a.b", true}, {"*.b", "a.b", true}, {"*.b", "c.a.b", true},
		{"*.b", "b", false}, {"*.b", "*.a.b", true}, {"*.a.b", "*.b", false}, {"a.b", "*.b", false}, {"*.b", "*", false},
		{"*.b", "*.b", true}, {"*.ample.com", "example.com", false},
	} {
		if got := covers(c.wide, c.narrow); got != c.want {
			t.Errorf("covers(%s, %s): got %v, want %v", c.wide, c.narrow, got, c.want)
		}
	}
}

// TestPaths compares pathCovers and the index with what the matches take, over all short paths.
func TestPaths(t *testing.T) {
	var paths []string
	var grow func(p string, n int)
	grow = func(p string, n int) {
		paths = append(paths, p)
		if n == 0 {
			return
		}
		for _, c := range []string{"a", "b", "/"} {
			grow(p+c, n-1)
		}
	}
	grow("/", 4)
	takes := func(m ir.Match, p string) bool {
		switch m.PathKind {
		case ir.PathExact:
			return p == m.Path
		case ir.PathPrefix:
			return p == m.Path || strings.HasPrefix(p, m.Path+"/")
		case ir.PathRawPrefix:
			return strings.HasPrefix(p, m.Path)
		}
		return true
	}
	matches := []ir.Match{{}}
	for _, p := range []string{"/a", "/ab", "/a/b", "/b", "/a/"} {
		matches = append(matches, ir.Match{PathKind: ir.PathExact, Path: p}, ir.Match{PathKind: ir.PathRawPrefix, Path: p})
		if !strings.HasSuffix(p, "/") {
			matches = append(matches, ir.Match{PathKind: ir.PathPrefix, Path: p})
		}
	}
	index := newPathIndex()
	for i, m := range matches {
		index.add(m, i)
	}
	for _, narrow := range matches {
		var found []int
		index.covering(narrow, func(i int) bool {
			if pathCovers(matches[i], narrow) {
				found = append(found, i)
			}
			return true
		})
		for i, wide := range matches {
			want, common := true, false
			for _, p := range paths {
				want = want && (!takes(narrow, p) || takes(wide, p))
				common = common || takes(narrow, p) && takes(wide, p)
			}
			if got := pathCovers(wide, narrow); got != want {
				t.Errorf("%v covers %v: got %v, want %v", wide, narrow, got, want)
			}
			if got := slices.Contains(found, i); got != want {
				t.Errorf("index: %v covers %v: got %v, want %v", wide, narrow, got, want)
			}
			if got := matchOverlaps(wide, narrow); got != common {
				t.Errorf("%v overlaps %v: got %v, want %v", wide, narrow, got, common)
			}
		}
	}
}
