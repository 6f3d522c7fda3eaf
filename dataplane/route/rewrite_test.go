package route

import (
	"regexp"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func TestRewrite(t *testing.T) {
	pattern := func(pattern, with string) *config.Rewrite {
		return &config.Rewrite{Pattern: regexp.MustCompile(pattern), With: with}
	}
	prefix := func(kind config.PathKind, path string) config.Match { return config.Match{PathKind: kind, Path: path} }
	for name, test := range map[string]struct {
		match   config.Match
		rewrite *config.Rewrite
		path    string
		want    string // "" is none
	}{
		"host":               {prefix(config.PathPrefix, "/"), &config.Rewrite{Host: "b.test:80"}, "/a?b", "b.test:80/a?b"},
		"prefix":             {prefix(config.PathPrefix, "/a"), &config.Rewrite{Prefix: "/x"}, "/ab/c?d", "a.test/xb/c?d"},
		"separated prefix":   {prefix(config.PathSeparatedPrefix, "/a"), &config.Rewrite{Prefix: "/x"}, "/a/b", "a.test/x/b"},
		"all of a prefix":    {prefix(config.PathSeparatedPrefix, "/a"), &config.Rewrite{Prefix: "/x"}, "/a?b", "a.test/x?b"},
		"exact":              {prefix(config.PathExact, "/a"), &config.Rewrite{Prefix: "/x"}, "/a?b", "a.test/x?b"},
		"regex":              {prefix(config.PathRegex, ""), &config.Rewrite{Prefix: "/x"}, "/a?b", "a.test/x?b"},
		"pattern":            {prefix(config.PathPrefix, "/"), pattern("[0-9]", "N"), "/1/2?3", "a.test/N/N?3"},
		"a query's mark":     {prefix(config.PathPrefix, "/"), pattern("b", "x"), "/a?b?b", "a.test/a?b?b"},
		"bytes beyond ASCII": {prefix(config.PathPrefix, "/"), pattern("b", "x"), "/\xe9b\xff", "a.test/\xe9x\xff"},
		"a byte is one":      {prefix(config.PathPrefix, "/"), pattern("^/.b", "/"), "/\xe9b", "a.test/"},
		"no path":            {prefix(config.PathPrefix, "/"), pattern("^/", ""), "/a", ""},
		"nothing":            {prefix(config.PathPrefix, "/"), pattern("^.*", ""), "/a", ""},
		"prefix of no path":  {prefix(config.PathPrefix, "/a"), &config.Rewrite{Prefix: "x"}, "/a", ""},
		"both":               {prefix(config.PathPrefix, "/a"), &config.Rewrite{Host: "b.test", Prefix: "/x"}, "/a", "b.test/x"},
	} {
		t.Run(name, func(t *testing.T) {
			req := &message.Request{Authority: "a.test", Path: test.path}
			ok := Rewrite(&config.Route{Match: test.match, Rewrite: test.rewrite}, req)
			got := req.Authority + req.Path
			if ok != (test.want != "") || ok && got != test.want {
				t.Errorf("got %v, %q, want %q", ok, got, test.want)
			}
		})
	}
}
