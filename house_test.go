// Package sluice holds no code: this test keeps the rules of the floor plan (ARCHITECTURE.md).
package sluice

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluice-proxy/sluice"

type room struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the folder, from the root on.
func (r room) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.ImportPath, module), "/")
}

// imports are all that the room's code and tests import.
func (r room) imports() []string {
	return slices.Concat(r.Imports, r.TestImports, r.XTestImports)
}

func rooms(t *testing.T) []room {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []room
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var r room
		if err := decoder.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) < 20 {
		t.Fatalf("go list found %d packages, want the whole house", len(all))
	}
	return all
}

// under tells whether an import path or a folder is one of the folders or below it.
func under(path string, folders ...string) bool {
	path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, f+"/") {
			return true
		}
	}
	return false
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func TestImports(t *testing.T) {
	requestWalk := []string{
		"dataplane/listener", "dataplane/certs", "dataplane/http1", "dataplane/http2", "dataplane/tcpproxy", "dataplane/httpproxy",
		"dataplane/filter", "dataplane/route", "dataplane/cluster", "dataplane/balance", "dataplane/upstream", "dataplane/failure",
		"dataplane/message", "dataplane/accesslog", "dataplane/format", "dataplane/healthcheck", "dataplane/outlier",
	}
	for _, r := range rooms(t) {
		for _, imported := range r.imports() {
			bad := func(rule, why string) {
				t.Errorf("%s: %s imports %s: %s", rule, r.path(), imported, why)
			}
			own := ours(imported)
			switch {
			case own && under(r.path(), "controlplane") && under(imported, "dataplane"),
				own && under(r.path(), "dataplane") && under(imported, "controlplane"):
				bad("R1", "the planes never import each other: they meet on the wire, or in cmd and e2e")
			case own && under(r.path(), "xds") && under(imported, "controlplane", "dataplane"):
				bad("R1", "xds knows neither plane")
			case own && under(r.path(), "dns") && imported != r.ImportPath:
				bad("R1", "dns knows neither plane, and nothing else of ours: both planes ask it")
			case own && under(imported, "api") && !under(r.path(), "api", "controlplane", "cmd/sluice", "e2e"):
				bad("R1", "the language is the control plane's: the proxy knows xDS only")
			}
			envoyTypes := strings.HasPrefix(imported, "github.com/envoyproxy/go-control-plane/")
			if envoyTypes && !under(r.path(), "xds", "controlplane/translate", "dataplane/decode", "e2e") {
				bad("R2", "Envoy's types stay in xds, translate and decode; elsewhere use ir or config")
			}
			if own && under(r.path(), "controlplane/ir", "dataplane/config", "dataplane/failure", "xds/resource") && imported != r.ImportPath {
				bad("R3", "a room of nouns imports nothing of ours")
			}
			if own && under(r.path(), requestWalk...) && under(imported, "xds", "dataplane/decode", "dataplane/assemble", "dataplane/live") {
				bad("R4", "a request does not know where its configuration came from: live builds and hands over")
			}
		}
	}
}

// R9: what runs at the edge carries nothing of the control plane.
func TestProxyIsLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./cmd/sluice-proxy").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	heavy := []string{
		module + "/controlplane", module + "/api", "buf.build/", "cel.dev/cel-go", "github.com/google/cel-go", "github.com/fsnotify/",
		"github.com/spf13/cobra", "github.com/envoyproxy/go-control-plane/pkg", "go.etcd.io/", "k8s.io/", "github.com/caddyserver/certmagic",
	}
	for _, path := range strings.Fields(string(out)) {
		for _, h := range heavy {
			if strings.HasPrefix(path, h) {
				t.Errorf("R9: cmd/sluice-proxy depends on %s: the proxy stays light", path)
			}
		}
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestFiles(t *testing.T) {
	banned := []string{"util", "utils", "common", "helpers", "helper", "misc", "base", "types", "shared"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "bin") {
				return filepath.SkipDir
			} else if slices.Contains(banned, name) {
				t.Errorf("R7: folder %s: a helper used twice has a noun and a room of its own", path)
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		test := strings.HasSuffix(path, "_test.go")
		if generated.Match(data) {
			return nil
		}
		if lines := bytes.Count(data, []byte("\n")); !test && lines >= 400 {
			t.Errorf("R8: %s has %d lines, want fewer than 400: split it by purpose", path, lines)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, data, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && !test && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("R5: %s has an init function: registries are explicit tables", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// R8: every room says what it is for.
func TestPackageComments(t *testing.T) {
	for _, r := range rooms(t) {
		if len(r.GoFiles) == 0 || under(r.path(), "api") {
			continue
		}
		found := false
		for _, name := range r.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(r.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found = found || file.Doc != nil
		}
		if !found {
			t.Errorf("R8: package %s has no package comment: say what comes in, what goes out, what it must not know", r.path())
		}
	}
}

// R6: roots wire. Logic that grows there has a room somewhere else.
func TestRootsAreSmall(t *testing.T) {
	for _, r := range rooms(t) {
		limit := 0
		switch r.path() {
		case "controlplane", "dataplane":
			limit = 3
		case "cmd/sluice-proxy":
			limit = 2
		default:
			continue
		}
		if len(r.GoFiles) > limit {
			t.Errorf("R6: %s has %d files %v, want at most %d: roots wire, they hold no logic", r.path(), len(r.GoFiles), r.GoFiles, limit)
		}
	}
}
