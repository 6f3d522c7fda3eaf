package harness

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"

	"golang.org/x/tools/txtar"
)

// Stage is a scenario made ready for one proxy: its folder of definitions, its ports and its upstreams.
type Stage struct {
	Dir   string
	Ports map[string]int
	// Sockets are the paths of unix sockets, by the names that stand in place of a port's.
	Sockets map[string]string
	// Server is the name server, if a placeholder has asked for it.
	Server    *Names
	Upstreams map[string]*Upstream
	signers   signers
	// tries counts requests with x-echo-first; Play begins anew.
	tries atomic.Int64
	well  *wellness
}

type maker = func(testing.TB, string, ...func(*Upstream)) *Upstream

var makers = map[string]maker{"upstream": NewUpstream, "h2c": NewH2CUpstream, "tcp": NewTCPUpstream}

// NewStage writes files with their placeholders filled in:
//
//	{{port "http"}}      a free port, the same for the same name
//	{{socket "web"}}     the path of a unix socket to listen on, the same for the same name
//	{{upstream "v1"}}    the address of an HTTP/1.1 upstream
//	{{h2c "grpc"}}       the address of an HTTP/2 upstream
//	{{tcp "t"}}          the address of a TCP upstream
//	{{echo "e"}}         the address of a TCP upstream that sends back what comes
//	{{resolver}}         the address of a name server
//	{{named "a.test" "v1" "v2@::1"}} a name and a port, and upstreams on that port at loopback addresses that the name has
//	{{namedtcp "a.test" "t1"}} the same with TCP upstreams
//	{{service "_http._tcp.a.test" "v1/10/60"}} srv: and a name, and upstreams at addresses and ports of their own, which
//	                     the name's SRV records tell, with a priority and a weight; v1 is found at v1.a.test
//	{{servicetcp "_db._tcp.a.test" "t1/10/60"}} the same with TCP upstreams
//	{{dead}}             an address where nobody listens
//	{{proxied "tcp" "t"}} one of upstream, h2c or tcp that wants the PROXY protocol's header
//	{{unix "tcp" "t"}}   one of them, or "proxied" followed by one, on a unix socket
//	{{secure "tcp" "t" "ca/a.test"}} one of them that speaks TLS, with a certificate that the authority ca has signed for a.test
//	{{mutual "tcp" "t" "ca/a.test"}} one that also wants a certificate of ca's of its clients
//	{{authority "ca"}}   the path of an authority's own certificate
//	{{certificate "ca/a.test"}} and {{key "ca/a.test"}}: the paths of a certificate that it has signed
//	{{full}}             an address where connections are neither taken nor refused
func NewStage(tb testing.TB, files []txtar.File) *Stage {
	tb.Helper()
	s := &Stage{Dir: tb.TempDir(), Ports: map[string]int{}, Sockets: map[string]string{}, Upstreams: map[string]*Upstream{}, well: newWellness()}
	s.Write(tb, files)
	return s
}

// Write writes more files, or others of the same names, with the same ports and upstreams. Each appears at once.
func (s *Stage) Write(tb testing.TB, files []txtar.File) {
	tb.Helper()
	upstream := func(kind maker, options ...func(*Upstream)) func(string) string {
		return func(name string) string {
			if s.Upstreams[name] == nil {
				s.Upstreams[name] = kind(tb, name, append(slices.Clone(options), func(u *Upstream) { u.tries, u.well = &s.tries, s.well })...)
			}
			return s.Upstreams[name].Addr
		}
	}
	funcs := template.FuncMap{
		"port": func(name string) int {
			if s.Ports[name] == 0 {
				s.Ports[name] = FreePort(tb)
			}
			return s.Ports[name]
		},
		"socket": func(name string) string {
			if s.Sockets[name] == "" {
				s.Sockets[name] = filepath.Join(ShortDir(tb), name+".sock")
			}
			return s.Sockets[name]
		},
		"resolver": func() string { return s.names(tb).Addr },
		"named": func(name string, answers ...string) string {
			return s.named(tb, NewUpstream, name, answers)
		},
		"namedtcp": func(name string, answers ...string) string {
			return s.named(tb, NewTCPUpstream, name, answers)
		},
		"service": func(name string, answers ...string) string {
			return s.service(tb, NewUpstream, name, answers)
		},
		"servicetcp": func(name string, answers ...string) string {
			return s.service(tb, NewTCPUpstream, name, answers)
		},
		"upstream": upstream(NewUpstream),
		"h2c":      upstream(NewH2CUpstream),
		"tcp":      upstream(NewTCPUpstream),
		"unix": func(kind, name string) string {
			options := []func(*Upstream){OnUnix(tb)}
			if rest, ok := strings.CutPrefix(kind, "proxied "); ok {
				kind, options = rest, append(options, WantHeader)
			}
			return upstream(makers[kind], options...)(name)
		},
		"echo": upstream(NewEchoUpstream),
		"proxied": func(kind, name string) string {
			return upstream(makers[kind], WantHeader)(name)
		},
		"secure": func(kind, name, cert string) string {
			return s.secure(tb, kind, name, cert, s.signers.server)
		},
		"mutual": func(kind, name, cert string) string {
			return s.secure(tb, kind, name, cert, s.signers.mutual)
		},
		"authority":   func(name string) string { return s.signers.write(tb, s.signers.authority(tb, name).PEM) },
		"certificate": func(name string) string { return s.signers.write(tb, s.signers.signed(tb, name).certificate) },
		"key":         func(name string) string { return s.signers.write(tb, s.signers.signed(tb, name).key) },
		"full":        func() string { return full(tb) },
		"dead":        func() string { return Loopback(tb) },
	}
	for _, f := range files {
		t, err := template.New(f.Name).Funcs(funcs).Parse(string(f.Data))
		if err != nil {
			tb.Fatal(err)
		}
		var text strings.Builder
		if err := t.Execute(&text, nil); err != nil {
			tb.Fatal(err)
		}
		s.Put(tb, f.Name, text.String())
	}
}

// Put writes one file as it is, by a rename, as editors save.
func (s *Stage) Put(tb testing.TB, name, text string) {
	tb.Helper()
	path := filepath.Join(s.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		tb.Fatal(err)
	}
}

// Text is a file as it was written.
func (s *Stage) Text(tb testing.TB, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// Addr is where a port is reached, or unix:/path.
func (s *Stage) Addr(tb testing.TB, host, port string) string {
	tb.Helper()
	if path := s.Sockets[port]; path != "" {
		return "unix:" + path
	}
	n := s.Ports[port]
	if n == 0 {
		tb.Fatalf("no port is called %q", port)
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(n))
}
