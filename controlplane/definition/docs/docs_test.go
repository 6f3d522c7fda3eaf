package docs

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

// Everything that a person can write is documented, and descriptor.binpb is that of the generated code.
func TestEverythingHasAComment(t *testing.T) {
	for _, file := range files {
		for i := range file.Messages().Len() {
			md := file.Messages().Get(i)
			names := []protoreflect.FullName{md.FullName()}
			for j := range md.Fields().Len() {
				names = append(names, md.Fields().Get(j).FullName())
			}
			for j := range md.Enums().Len() {
				ed := md.Enums().Get(j)
				names = append(names, ed.FullName())
				for k := range ed.Values().Len() {
					names = append(names, ed.FullName().Append(ed.Values().Get(k).Name()))
				}
			}
			for _, name := range names {
				if Comment(name) == "" {
					t.Errorf("%s: got no comment, want one: write it in the .proto file, or run `make generate`", name)
				}
			}
		}
	}
}

func TestGoldenPages(t *testing.T) {
	var b strings.Builder
	if err := WriteKinds(&b); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"Gateway", "route", "Service", "Certificate", "Test", "Route.rules.timeout", "Route.rules[0].backends", "Route.rules.backends.weight",
		"Gateway.listeners.protocol", "Gateway.listeners.port", "Service.endpoints", "Service.labels", "Service.loadBalancer.leastRequest.choiceCount",
		"Route.rules.redirect.statusCode", "Gateway.listeners.strictsni",
	} {
		page, err := Lookup(path)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n$ " + path + "\n")
		if err := page.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	const file = "testdata/pages.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestNotFound(t *testing.T) {
	for path, want := range map[string]string{
		"Rout":                             "Rout: got an unknown kind, want one of Gateway, Route, Service, Certificate, TrustBundle, Test; did you mean Route?",
		"":                                 ": got an unknown kind, want one of Gateway, Route, Service, Certificate, TrustBundle, Test",
		"Route.rules.backends.srvice":      "Route.rules.backends.srvice: got an unknown field, want one of service, weight; did you mean service?",
		"Route.rules.timeout.x":            "Route.rules.timeout.x: Route.rules.timeout has no fields: it is duration",
		"Route.rules[0].backends[0].wight": "Route.rules.backends.wight: got an unknown field, want one of service, weight; did you mean weight?",
	} {
		_, err := Lookup(path)
		var notFound *NotFoundError
		if !errors.As(err, &notFound) || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", path, err, want)
		}
	}
}

func TestComplete(t *testing.T) {
	for typed, want := range map[string]string{
		"":                     "Gateway Route Service Certificate TrustBundle Test",
		"r":                    "Route",
		"Route.rules.rewrite.": "Route.rules.rewrite.host Route.rules.rewrite.pathPrefix Route.rules.rewrite.pathRegex Route.rules.rewrite.path",
		"Route.rules.mat":      "Route.rules.match Route.rules.matches",
		"Rout.":                "",
	} {
		if got := strings.Join(Complete(typed), " "); got != want {
			t.Errorf("%s: got %s, want %s", typed, got, want)
		}
	}
}

// TestGoldenReference keeps docs/reference.md what the comments say, with a section for everything it links to.
func TestGoldenReference(t *testing.T) {
	var b strings.Builder
	if err := WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	const file = "../../../docs/reference.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("docs/reference.md: run `make golden`. Want (-), got (+):\n%s", diff)
	}
	for _, link := range regexp.MustCompile(`\]\(#([a-z0-9]+)\)`).FindAllStringSubmatch(b.String(), -1) {
		if !regexp.MustCompile(`(?mi)^##+ ` + link[1] + `$`).MatchString(b.String()) {
			t.Errorf("a link to #%s leads nowhere", link[1])
		}
	}
}
