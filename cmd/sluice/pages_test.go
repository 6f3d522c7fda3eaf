package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/cmd/sluice/matcher"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/explain"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml([^\n]*)\n(.*?)^```$")
	// What blocks refer to, and whose definition would only be in the reader's way.
	wantsService     = regexp.MustCompile(`\bservice: ([a-z0-9-]+)\b|\bservices: \[([^\]]*)\]`)
	wantsCertificate = regexp.MustCompile(`\bcertificates: \[([^\]]*)\]|\bcertificate: ([a-z0-9-]+)\s`)
	wantsBundle      = regexp.MustCompile(`\btrustBundle: ([a-z0-9-]+)\b`)
	wantsGateway     = regexp.MustCompile(`\bgateways: \[([a-z0-9-]+)\]`)
)

// parts are what a block may be of: the word behind ```yaml. The rest of the document is put around it.
var parts = map[string]string{
	"listener": "kind: Gateway\nname: all\nlisteners:\n",
	"rules":    "kind: Route\nname: all\nrules:\n",
	"rule":     "kind: Route\nname: all\nrules:\n  - name: only\n",
	"service":  "kind: Service\nname: all\n",
}

// TestPages: each ```yaml block of the documentation is right: as it stands, or as the part of a document that it says it is.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	examples, err := filepath.Glob("../../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, page := range append(append(pages, examples...), "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllSubmatchIndex(text, -1) {
			blocks++
			line := 1 + strings.Count(string(text[:m[0]]), "\n")
			part, block := strings.TrimSpace(string(text[m[2]:m[3]])), string(text[m[4]:m[5]])
			for _, problem := range pageProblems(part, block) {
				t.Errorf("%s:%d: %s", page, line, problem)
			}
		}
	}
	if blocks < 30 {
		t.Errorf("got %d blocks, want those of all pages", blocks)
	}
}

// pageProblems says what is wrong with a block.
func pageProblems(part, block string) []string {
	text := block
	switch before, known := parts[part]; {
	case part != "" && !known:
		return []string{"got a block that is " + part + ", want a part of a document: listener, rules, rule or service"}
	case part == "service" && !strings.Contains(block, "endpoints:"):
		text = before + "endpoints: [10.0.0.1:8080]\n" + block
	default:
		text = before + block
	}
	defined := func(kind, name string) bool {
		return regexp.MustCompile(`(?m)kind: ` + kind + `\b[^\n]*\n?[^\n]*\bname: ` + name + `\b`).MatchString(text)
	}
	add := func(kind string, wants *regexp.Regexp, rest string) {
		for _, m := range wants.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(strings.Join(m[1:], ""), ",") {
				if name = strings.TrimSpace(name); !defined(kind, name) {
					text += "\n---\n{kind: " + kind + ", name: " + name + rest + "}\n"
				}
			}
		}
	}
	add("Service", wantsService, ", endpoints: [10.0.0.9:8080]")
	add("Certificate", wantsCertificate, ", selfSigned: {}")
	add("TrustBundle", wantsBundle, ", files: [ca.pem]")
	add("Gateway", wantsGateway, ", listeners: [{name: http, port: 80, protocol: HTTP}]")

	documents, problems := definition.Parse("block", []byte(text))
	out := compile.Compile(compile.Input{Documents: documents, Certificates: pageCertificate})
	_, failed := explain.RunTests(out, documents, matcher.New())
	var wrong []string
	for _, p := range slices.Concat(problems, out.Problems, failed) {
		if p.Code != definition.CodeUnusedService && p.Code != definition.CodeIdleListener {
			wrong = append(wrong, p.Text())
		}
	}
	return wrong
}

// pageCertificate stands for the files of a document, which are the reader's.
func pageCertificate(d *definition.Document) (chain, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{d.Ref.Name + ".example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), err
}
