package route

import (
	"strings"
	"testing"
)

// Each row is what Envoy 1.40 was seen to do with normalize_path. "" is a refusal.
var normalized = map[string]string{
	"/":                 "/",
	"/a/b?x=/../y":      "/a/b?x=/../y",
	"/a/../b":           "/b",
	"/a/./b":            "/a/b",
	"/a/..":             "/",
	"/a/.":              "/a/",
	"/..":               "/",
	"/../x":             "/x",
	"/a/%2e%2e/b":       "/b",
	"/a/.%2E/b":         "/b",
	"/a/%2e/b":          "/a/b",
	"/a/...":            "/a/...",
	"/a//b":             "/a//b",
	"/a//../b":          "/a/b",
	`/a\b`:              "/a/b",
	`/a\..\b`:           "/b",
	"/a/..?x=/../y":     "/?x=/../y",
	"/a%2fb":            "/a%2fb",
	"/a%5C..%5Cb":       "/a%5C..%5Cb",
	"/a%zz":             "/a%zz",
	"/a%2":              "/a%2",
	"/a%":               "/a%",
	"/%41%7e":           "/A~",
	"/a/..b/../c":       "/a/c",
	"/a/b/..;/c":        "/a/c",
	"/a/..;x=1/c":       "/c",
	"/a/.;/c":           "/a/c",
	"/a/...;/c":         "/a/...;/c",
	"/a/%2e%2e;/c":      "/a/..;/c",
	"/a/..;":            "/",
	"/a/..;?q":          "/?q",
	"/a/..%3b/c":        "/a/..%3b/c",
	"/a/.;x":            "/a/",
	`/a/..;\c`:          "/",
	"/a/..;a%2fb/c":     "/c",
	"/a;x/b":            "/a;x/b",
	"/a/%2e%2e%2fb":     "/a/..%2fb",
	`/a?q=%41\`:         `/a?q=%41\`,
	"/.":                "/",
	"//":                "//",
	"//a/..":            "//",
	"/a/b/%2E%2E":       "/a/",
	"/%c3%a9":           "/%c3%a9",
	"/a%00b":            "",
	"*":                 "",
	"a":                 "",
	"":                  "",
	"/.a":               "/.a",
	"/a./b":             "/a./b",
	"/%2e%2ea/..":       "/",
	"/a\"<>^`{|}b":      "/a%22%3C%3E%5E%60%7B%7C%7Db",
	"/a!$&'()*+,:;=@[]": "/a!$&'()*+,:;=@[]",
}

func TestNormalizePath(t *testing.T) {
	for in, want := range normalized {
		got, ok := NormalizePath(in, false)
		if ok != (want != "") || got != want {
			t.Errorf("NormalizePath(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
	for in, want := range map[string]string{"//a///b/": "/a/b/", "/a//../b": "/a/b", "/a": "/a", "/a?b//c": "/a?b//c"} {
		if got, _ := NormalizePath(in, true); got != want {
			t.Errorf("NormalizePath(%q) with merged slashes = %q, want %q", in, got, want)
		}
	}
}

func TestNormalizePathDoesNotAllocateForPlainPaths(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { NormalizePath("/api/v1/items?x=1", true) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// What is normalized stays as it is, begins with '/', and holds no dot segment that a server could resolve.
func FuzzNormalizePath(f *testing.F) {
	for in := range normalized {
		f.Add(in, false)
		f.Add(in, true)
	}
	f.Fuzz(func(t *testing.T, in string, mergeSlashes bool) {
		once, ok := NormalizePath(in, mergeSlashes)
		if !ok {
			return
		}
		path, _, _ := strings.Cut(once, "?")
		if !strings.HasPrefix(path, "/") {
			t.Fatalf("%q became %q, which does not begin with /", in, once)
		}
		for _, s := range strings.Split(path, "/") {
			if s == "." || s == ".." {
				t.Fatalf("%q became %q, which has a dot segment", in, once)
			}
		}
	})
}
