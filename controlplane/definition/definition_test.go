package definition

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

// golden calls run for each archive: it gets the files, and returns what stands in the file "want".
func golden(t *testing.T, pattern string, run func(t *testing.T, files []txtar.File) string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("testdata/%s: got %d files, %v", pattern, len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			inputs, want := []txtar.File{}, ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
				} else {
					inputs = append(inputs, f)
				}
			}
			got := run(t, inputs)
			if *update {
				archive.Files = append(inputs, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// list prints problems as the archives have them.
func list(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s [%s]\n", p.Error(), p.Code)
	}
	return b.String()
}

func TestParseAfter(t *testing.T) {
	text := []byte("kind: Service\nname: a\n---\nkind: Service\nname: b\ncolour: red\n")
	for _, lines := range []int{0, 7, 5_000_000} {
		documents, problems := ParseAfter("f", lines, text)
		if len(documents) != 1 || documents[0].At("name").Line != lines+2 || string(documents[0].Text) != "kind: Service\nname: a\n" {
			t.Errorf("after %d lines: got documents %v, want a in line %d", lines, documents, lines+2)
		}
		if len(problems) != 1 || problems[0].Line != lines+6 {
			t.Errorf("after %d lines: got problems %v, want one in line %d", lines, problems, lines+6)
		}
		if _, problems = ParseAfter("f", lines, []byte("a\n\xff")); len(problems) != 1 || problems[0].Line != lines+2 {
			t.Errorf("after %d lines: got problems %v, want one in line %d", lines, problems, lines+2)
		}
	}
}

func TestGoldenProblems(t *testing.T) {
	golden(t, "bad/*.txtar", func(t *testing.T, files []txtar.File) string {
		var b strings.Builder
		for _, f := range files {
			documents, problems := Parse(f.Name, bytes.TrimSuffix(f.Data, []byte("\n")))
			b.WriteString(list(problems))
			for _, d := range documents {
				fmt.Fprintf(&b, "%s: %s is fine\n", d.Position, d.Ref)
			}
			for _, p := range problems {
				if Explain(p.Code) == "" {
					t.Errorf("%s is not in the table of codes", p.Code)
				}
			}
		}
		return b.String()
	})
}

func TestGoldenExpand(t *testing.T) {
	golden(t, "expand/*.txtar", func(t *testing.T, files []txtar.File) string {
		var b strings.Builder
		for _, f := range files {
			documents, problems := Parse(f.Name, f.Data)
			if len(problems) > 0 {
				t.Fatal(list(problems))
			}
			for _, d := range documents {
				text, err := Expand(d)
				if err != nil {
					t.Fatal(err)
				}
				again, problems := Parse("expanded", text)
				if len(problems) > 0 {
					t.Fatalf("what Expand prints does not parse:\n%s\n%s", list(problems), text)
				}
				for _, a := range again {
					if diff := cmp.Diff(WithDefaults(a.Message), a.Message, protocmp.Transform()); diff != "" {
						t.Errorf("%s: defaults that Expand left out:\n%s", a.Ref, diff)
					}
				}
				fmt.Fprintf(&b, "---\n%s", text)
			}
		}
		return b.String()
	})
}

func TestBuiltinGateway(t *testing.T) {
	documents := BuiltinGateway()
	if len(documents) != 2 || documents[0].Ref.String() != "Gateway/default" || documents[1].Ref.String() != "Certificate/default" {
		t.Errorf("got %v", documents)
	}
}

const shop = `# the shop
kind: Route
name: shop
labels: {team: web, tier: "1"}
rules:
- name: api
  match: {path: {prefix: /api}}
  backends:
  - service: api-v2
  - {service: api-v3, weight: 10}
`

func one(t testing.TB, file, text string) *Document {
	t.Helper()
	documents, problems := Parse(file, []byte(text))
	if len(problems) > 0 || len(documents) != 1 {
		t.Fatalf("got %d documents and\n%s", len(documents), list(problems))
	}
	return documents[0]
}

func TestHash(t *testing.T) {
	d := one(t, "a/shop.yaml", shop)
	same := map[string]string{
		"comments":   "# one more\n\n" + shop,
		"placement":  "kind: Service\nname: a\n---\n" + shop,
		"order":      "name: shop\nlabels: {tier: '1', team: web}\nkind: Route\n" + shop[strings.Index(shop, "rules:"):],
		"JSON":       `{"kind": "Route", "name": "shop", "labels": {"team": "web", "tier": "1"}, "rules": [{"name": "api", "match": {"path": {"prefix": "/api"}}, "backends": [{"service": "api-v2"}, {"service": "api-v3", "weight": 10}]}]}`,
		"line ends":  strings.ReplaceAll(shop, "\n", "\r\n"),
		"byte order": "\ufeff" + shop,
	}
	for name, text := range same {
		documents, problems := Parse("b/c.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatalf("%s: %s", name, list(problems))
		}
		if got := documents[len(documents)-1]; got.Hash != d.Hash {
			t.Errorf("%s: got another hash", name)
		}
	}
	for _, change := range [][2]string{{"10", "11"}, {"/api", "/apis"}, {"prefix", "exact"}, {"team: web", "team: api"}, {"name: shop", "name: shops"}} {
		if one(t, "shop.yaml", strings.Replace(shop, change[0], change[1], 1)).Hash == d.Hash {
			t.Errorf("%v: got the same hash", change)
		}
	}
	// Stored hashes must outlive the program.
	if want := "05b03eac68989e36"; !strings.HasPrefix(d.Hash, want) {
		t.Errorf("got %s, want %s…: the canonical form has changed", d.Hash, want)
	}
}

func TestDocument(t *testing.T) {
	documents, problems := Parse("conf/shop.yaml", []byte("kind: Service\nname: a\n--- # next\n"+shop))
	if len(problems) > 0 || len(documents) != 2 {
		t.Fatalf("got %d documents and\n%s", len(documents), list(problems))
	}
	d := documents[1]
	if d.Ref.String() != "Route/shop" || d.Position.String() != "conf/shop.yaml:6:7" || d.Dir != "conf" {
		t.Errorf("got %s at %s in %s", d.Ref, d.Position, d.Dir)
	}
	for field, want := range map[string]string{
		"":                             "6:7",
		"rules[0]":                     "9:3",
		"rules[0].match.path.prefix":   "10:26",
		"rules[0].backends[1].service": "13:15",
		"rules[0].backends[0].weight":  "12:5",
		"rules[0].timeout":             "9:3",
		"rules[7].timeout":             "9:1",
		`labels["tier"]`:               "7:27",
		"hosts":                        "6:7",
	} {
		got := strings.TrimPrefix(d.At(field).String(), "conf/shop.yaml:")
		if got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
}

func TestTextParsesAgain(t *testing.T) {
	text := "kind: Service\nname: a # a\n--- # two\nkind: Service\nname: b\ndescription: |\n  x\n   --- y\n...\n---\n\n\nkind: Service\nname: c\n"
	documents, problems := Parse("x.yaml", []byte(text))
	if len(problems) > 0 || len(documents) != 3 {
		t.Fatalf("got %d documents and\n%s", len(documents), list(problems))
	}
	if got := Count([]byte(text + "---\n# none\n---\nbad")); got != 4 {
		t.Errorf("got %d documents, want 4", got)
	}
	for _, d := range documents {
		again := one(t, "x.yaml", string(d.Text))
		if again.Hash != d.Hash || !proto.Equal(again.Message, d.Message) {
			t.Errorf("%s: got another document from %q", d.Ref, d.Text)
		}
	}
}

func TestRuleNames(t *testing.T) {
	d := one(t, "x.yaml", `
kind: Route
name: shop
rules:
- {match: {path: {prefix: /a}}, backends: [{service: a}]}
- {matches: [{path: {prefix: /a}}], backends: [{service: a}]}
- {match: {path: {prefix: /b}}, backends: [{service: a}]}
- {name: any, match: {methods: [GET]}, backends: [{service: a}]}
- {match: {}, backends: [{service: a}]}
- {backends: [{service: a}]}
`)
	got := []string{}
	for _, r := range WithDefaults(d.Message.(*sluicev1.Route)).GetRules() {
		got = append(got, r.GetName())
	}
	want := []string{"match-", "match-", "match-", "any", "any-2", "any-3"}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("rules[%d]: got %s, want %s…", i, got[i], want[i])
		}
	}
	if got[1] != got[0]+"-2" || got[2] == got[0] {
		t.Errorf("got %v", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"kind", "name", "backends", "connectTimeout", "rules"}
	for word, want := range map[string]string{
		"nmae": "name", "backend": "backends", "conectTimeout": "connectTimeout", "rule": "rules", "upstream": "", "x": "",
		"connecttimeout": "connectTimeout", strings.Repeat("a", 1000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

func TestCodes(t *testing.T) {
	for i, c := range Codes {
		if i > 0 && c.Code <= Codes[i-1].Code {
			t.Errorf("%s stands behind %s", c.Code, Codes[i-1].Code)
		}
	}
}

func TestManyProblems(t *testing.T) {
	_, problems := Parse("x.yaml", []byte("kind: Service\nname: a\nendpoints:\n"+strings.Repeat("- x\n", 1000)))
	if n := len(problems); n != maxProblems+1 || problems[n-1].Error() != "x.yaml:103:3: Service/a: got 900 more problems, want these mended first" {
		t.Errorf("got %d, the last %s", n, problems[n-1].Error())
	}
}

func TestLimits(t *testing.T) {
	deep := "kind: Service\nname: a\nlabels: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	large := "kind: Service\nname: large\ndescription: |\n" + strings.Repeat("  some text\n", 100_000)
	for name, c := range map[string]struct{ text, want string }{
		"deep":      {deep, "x.yaml:1:1: Service/a: got more than 64 levels of lists and mappings, want fewer"},
		"large":     {large, "x.yaml:1:1: Service/large: got 1200041 bytes, want at most 1048576 in a document"},
		"bytes":     {"kind: Service\nname: ä\xff", `x.yaml:2:8: got the byte 0xff, want UTF-8: save the file in that encoding`},
		"control":   {"kind: Service\nname: a\n---\nkind: Service\nname: b\n  \x01", `x.yaml:6:3: Service/b: got a control character, want it escaped in quotes, such as "\x01"`},
		"line ends": {"kind: Service\rname: a\r---\rkind: Service\rname: b", "x.yaml:1:1: got a second document, want --- on a line of its own before it"},
		"file":      {strings.Repeat("#", maxFile+1), `x.yaml:1:1: got 67108865 bytes, want at most 67108864 in a file`},
	} {
		_, problems := Parse("x.yaml", []byte(c.text))
		if len(problems) != 1 || problems[0].Error() != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, list(problems), c.want)
		}
	}
}

func TestExpandAll(t *testing.T) {
	parse := func(text string) []*Document {
		documents, problems := Parse("x.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(list(problems))
		}
		return documents
	}
	const service = "kind: Service\nname: a\nendpoints: [127.0.0.1:1]\n"
	const gateway = "kind: Gateway\nname: default\nlisteners: [{name: a, port: 1, protocol: HTTPS, certificates: [%s]}]\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing joins":      {service, "Service/a"},
		"joins":              {service + "hosts: [a]\n", "Service/a Route/a Gateway/default Certificate/default"},
		"joins a listener":   {service + "hosts: [a]\ngateways: [default/https]\n", "Service/a Route/a Gateway/default Certificate/default"},
		"joins another":      {service + "hosts: [a]\ngateways: [web]\n", "Service/a Route/a"},
		"defined":            {service + "hosts: [a]\n---\n" + fmt.Sprintf(gateway, "web"), "Service/a Route/a Gateway/default"},
		"defined, presents":  {fmt.Sprintf(gateway, "default"), "Gateway/default Certificate/default"},
		"certificate is own": {fmt.Sprintf(gateway, "default") + "---\nkind: Certificate\nname: default\nselfSigned: {hosts: [a]}\n", "Gateway/default Certificate/default"},
	} {
		text, err := ExpandAll(parse(c.text))
		if err != nil {
			t.Fatal(err)
		}
		refs := []string{}
		for _, d := range parse(string(text)) {
			refs = append(refs, d.Ref.String())
		}
		if got := strings.Join(refs, " "); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
