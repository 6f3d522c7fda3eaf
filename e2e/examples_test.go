package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// example is an example's folder with its ports replaced by free ones, so that it runs beside anything.
type example struct {
	*harness.Stage
	ports map[string]int
}

var portPattern = regexp.MustCompile(`(port: |:)([0-9]{4,5})\b`)

func loadExample(t *testing.T, topic string) *example {
	t.Helper()
	e := &example{Stage: &harness.Stage{Dir: t.TempDir()}, ports: map[string]int{}}
	files, err := filepath.Glob(filepath.Join(harness.Root(t), "examples", topic, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples/%s: %d files, %v", topic, len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := portPattern.ReplaceAllStringFunc(string(data), func(found string) string {
			m := portPattern.FindStringSubmatch(found)
			return m[1] + strconv.Itoa(e.port(t, m[2]))
		})
		e.Put(t, filepath.Base(file), text)
	}
	return e
}

// port is the free port in the place of an example's.
func (e *example) port(t *testing.T, number string) int {
	if e.ports[number] == 0 {
		e.ports[number] = harness.FreePort(t)
	}
	return e.ports[number]
}

// addr is where an example's port is.
func (e *example) addr(t *testing.T, number string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port(t, number)))
}

// demo starts a demo upstream at an example's port.
func (e *example) demo(t *testing.T, name, number string, args ...string) {
	t.Helper()
	p := harness.Start(t, "demo "+name, sluice(t), append([]string{"demo-upstream", "--listen", e.addr(t, number), "--name", name}, args...)...)
	p.WaitLog("demo upstream " + name + " on")
}

func sluice(t *testing.T) string { return filepath.Join(harness.Binaries(t), "sluice") }

// get asks a URL of an example, and returns the answer.
func (e *example) get(t *testing.T, scheme, host, number, path string) *harness.Answer {
	t.Helper()
	r := &harness.Request{
		Method: "GET", Addr: e.addr(t, number), TLS: scheme == "https", SNI: host, Proto: "HTTP/1.1",
		Authority: net.JoinHostPort(host, strconv.Itoa(e.port(t, number))), Path: path,
	}
	a := harness.Do(r, false)
	if a.Refused != "" {
		t.Fatalf("%s://%s%s: %s", scheme, r.Authority, path, a.Refused)
	}
	return a
}

func (e *example) wantFrom(t *testing.T, a *harness.Answer, status int, upstream string) {
	t.Helper()
	if a.Status != status || upstream != "" && !strings.HasPrefix(string(a.Body), "Hello from "+upstream+"\n") {
		t.Errorf("got status %d, %.60q; want %d from %q", a.Status, a.Body, status, upstream)
	}
}

// TestExamplesValidate: every example is right by itself, as it stands in the tree, and its Tests hold.
func TestExamplesValidate(t *testing.T) {
	topics, err := os.ReadDir(filepath.Join(harness.Root(t), "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		dir := filepath.Join(harness.Root(t), "examples", topic.Name())
		if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
			t.Errorf("%s: an example has a README: %v", topic.Name(), err)
		}
		if out := harness.MustRun(t, sluice(t), "validate", "-f", dir); !strings.Contains(out, "all fine") {
			t.Errorf("%s: %s", topic.Name(), out)
		}
	}
}

// TestQuickstart is what `make run` starts: control plane, proxy and upstreams in one process.
func TestQuickstart(t *testing.T) {
	e := loadExample(t, "quickstart")
	admin := harness.Loopback(t)
	run := harness.Start(t, "run", sluice(t), "run", "-f", e.Dir, "--admin", admin, "--listen", "127.0.0.1:0",
		"--demo-upstream", "v1="+e.addr(t, "9001"), "--demo-upstream", "v2="+e.addr(t, "9002"))
	run.WaitLog(`(?s)Serving.*https://localhost:` + strconv.Itoa(e.port(t, "8443")))
	served := map[string]int{}
	for range 200 {
		a := e.get(t, "https", "localhost", "8443", "/x")
		e.wantFrom(t, a, 200, "")
		served[a.Get("x-upstream")]++
	}
	if served["v1"] < 150 || served["v2"] == 0 {
		t.Errorf("shares: %v, want about 180 and 20", served)
	}
	a := e.get(t, "http", "localhost", "8080", "/x?y")
	if want := "https://localhost:" + strconv.Itoa(e.port(t, "8443")) + "/x?y"; a.Status != 301 || a.Get("location") != want {
		t.Errorf("redirect: %d to %q, want 301 to %q", a.Status, a.Get("location"), want)
	}
	// A slip is told on the terminal, and the proxy serves on; when it is mended the edit holds.
	good := e.Text(t, "quickstart.yaml")
	e.Put(t, "quickstart.yaml", strings.Replace(good, "weight: 90", "wieght: 90", 1))
	run.WaitLog(`quickstart\.yaml:\d+:\d+.*wieght`)
	e.wantFrom(t, e.get(t, "https", "localhost", "8443", "/"), 200, "")
	e.Put(t, "quickstart.yaml", strings.Replace(good, "weight: 90", "weight: 0", 1))
	harness.Eventually(t, run, "all goes to v2", func() error {
		for range 10 {
			if a := e.get(t, "https", "localhost", "8443", "/"); a.Get("x-upstream") != "v2" {
				return errNotYet
			}
		}
		return nil
	})
	run.Stop()
	if code := run.ExitCode(); code != 0 {
		t.Errorf("it ended with exit code %d after SIGTERM, want 0", code)
	}
}

func TestNginxReplacement(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "nginx-replacement")
			for number, name := range map[string]string{"3000": "app", "3001": "api1", "3002": "api2", "3003": "images", "3004": "shop"} {
				e.demo(t, name, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for path, upstream := range map[string]string{
				"/": "app", "/images/a.png": "images", "/shop": "shop", "/shop/cart": "shop", "/apix": "app",
			} {
				e.wantFrom(t, e.get(t, "https", "site.example.com", "8443", path), 200, upstream)
			}
			if a := e.get(t, "https", "localhost", "8443", "/api/users"); !strings.HasPrefix(a.Get("x-upstream"), "api") {
				t.Errorf("/api/users: got %q", a.Body)
			}
			e.wantFrom(t, e.get(t, "https", "other.example.com", "8443", "/"), 404, "")
			e.wantFrom(t, e.get(t, "http", "localhost", "8080", "/"), 301, "")
		})
	}
}

// TestTLS: one port, told apart by server names.
func TestTLS(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "tls")
			e.demo(t, "web", "9001")
			e.demo(t, "inner", "9002")
			e.demo(t, "lines", "7001", "--tcp")
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			e.wantFrom(t, e.get(t, "https", "web.localhost", "8443", "/"), 200, "web")
			e.wantFrom(t, e.get(t, "https", "again.localhost", "8443", "/"), 200, "inner")
			a := e.get(t, "https", "inner.localhost", "8443", "/")
			e.wantFrom(t, a, 200, "inner")
			if a.Certificate != "inner.localhost" {
				t.Errorf("got the certificate of %q, want inner.localhost's: it is passed through", a.Certificate)
			}
			lines := harness.Do(&harness.Request{Addr: e.addr(t, "8443"), TLS: true, SNI: "lines.localhost", Proto: "TCP", Body: []byte("hello\n")}, false)
			if string(lines.Body) != "lines: hello\n" {
				t.Errorf("lines: got %q, %s", lines.Body, lines.Refused)
			}
		})
	}
}

// TestMixedFleet: a Go proxy and an Envoy in one fleet share the port; each gets connections, and either serves on alone.
func TestMixedFleet(t *testing.T) {
	e := loadExample(t, "mixed-fleet")
	e.demo(t, "hello", "9001")
	cp := harness.StartControlPlane(t, e.Dir)
	proxies := map[string]*harness.Proxy{}
	for _, kind := range harness.Kinds {
		proxies[kind] = harness.StartProxy(t, kind, cp.Addr, "edge", kind+"-1")
		proxies[kind].WaitReady()
	}
	cp.WaitSynced("edge", len(proxies))
	ask := func(n int) {
		t.Helper()
		for range n {
			e.wantFrom(t, e.get(t, "http", "localhost", "8080", "/"), 200, "hello")
		}
	}
	ask(100)
	for kind, pattern := range map[string]string{
		harness.Go:    `sluice_http_requests_total\{.*\}`,
		harness.Envoy: `envoy_http_downstream_rq_completed\{.*edge.*\}`,
	} {
		n := harness.Sum(t, proxies[kind].AdminGet("/stats/prometheus"), pattern)
		t.Logf("%s: %v of 100 requests", kind, n)
		if n < 10 {
			t.Errorf("%s: got %v of 100 requests, want a share", kind, n)
		}
	}
	proxies[harness.Envoy].Stop()
	ask(20)
}

func TestTCPExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "tcp")
			e.demo(t, "a", "7001", "--tcp")
			e.demo(t, "b", "7002", "--tcp")
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			got := map[string]int{}
			for range 4 {
				a := harness.Do(&harness.Request{Proto: "TCP", Addr: e.addr(t, "7000"), Body: []byte("hello\n")}, false)
				got[string(a.Body)]++
			}
			if got["a: hello\n"] != 2 || got["b: hello\n"] != 2 {
				t.Errorf("got %v, want each twice", got)
			}
		})
	}
}

func TestMatchingExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "matching")
			for number, name := range map[string]string{"9001": "shop", "9002": "beta", "9003": "items", "9004": "search"} {
				e.demo(t, name, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for _, c := range []struct {
				path, upstream string
				header         []harness.Field
			}{
				{"/items/42", "items", nil},
				{"/items/blue", "shop", nil},
				{"/", "beta", []harness.Field{{Name: "x-tester", Value: "ann"}, {Name: "x-team", Value: "blue"}}},
				{"/", "shop", []harness.Field{{Name: "x-tester", Value: "ann"}, {Name: "x-team", Value: "red"}}},
				{"/", "beta", []harness.Field{{Name: "cookie", Value: "a=b; beta=1"}}},
				{"/find?q=socks&lang=de-AT", "search", nil},
				{"/find?q=socks", "shop", nil},
			} {
				a := harness.Do(&harness.Request{Method: "GET", Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: "localhost", Path: c.path, Header: c.header}, false)
				e.wantFrom(t, a, 200, c.upstream)
			}
			if a := e.get(t, "http", "localhost", "8080", "/admin"); a.Status != 302 {
				t.Errorf("/admin of a stranger: got status %d, want 302", a.Status)
			}
			beta := 0
			for range 300 {
				if a := e.get(t, "http", "localhost", "8080", "/checkout"); a.Get("x-upstream") == "beta" {
					beta++
				}
			}
			if beta < 8 || beta > 70 {
				t.Errorf("beta got %d of 300, want about 30", beta)
			}
		})
	}
}

func TestLimitsExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "limits")
			e.demo(t, "app", "9001")
			e.demo(t, "lines", "7001", "--tcp")
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind, "--max-connections", "20000", "--max-heap", "1000000000").WaitReady()
			cp.WaitSynced("default", 1)
			e.wantFrom(t, e.get(t, "http", "localhost", "8080", "/"), 200, "app")
			big := &harness.Request{Method: "GET", Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: "localhost", Path: "/",
				Header: []harness.Field{{Name: "x-big", Value: strings.Repeat("a", 5000)}}}
			e.wantFrom(t, harness.Do(big, false), 431, "")
			late := &harness.Request{Proto: "RAW", Addr: e.addr(t, "8080"), Body: []byte("GET / HTTP/1.1\r\n")}
			e.wantFrom(t, harness.Do(late, false), 408, "")
			// Of three that come at once, any two are served.
			lines := []*held{hold(t, e.addr(t, "7000")), hold(t, e.addr(t, "7000")), hold(t, e.addr(t, "7000"))}
			harness.Eventually(t, nil, "one of three over TCP is closed", func() error {
				for _, l := range lines {
					if l.closed() {
						return nil
					}
				}
				return errNotYet
			})
			served := 0
			for _, l := range lines {
				if l.echoes(t) {
					served++
				}
			}
			if served != 2 {
				t.Errorf("%d of three over TCP got an answer, want 2", served)
			}
		})
	}
}

func TestProxyProtocolExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "proxy-protocol")
			e.demo(t, "app", "9001")
			cp := harness.StartControlPlane(t, e.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			e.wantFrom(t, e.get(t, "http", "localhost", "7000", "/"), 200, "app")
			balanced := &harness.Request{Method: "GET", Addr: e.addr(t, "7000"), Proto: "HTTP/1.1", Authority: "localhost", Path: "/",
				Ahead: []byte("PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n")}
			e.wantFrom(t, harness.Do(balanced, false), 200, "app")
			proxy.WaitLog(`"client":"203.0.113.7:4711"`)
			direct := &harness.Request{Method: "GET", Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: "localhost", Path: "/"}
			if a := harness.Do(direct, false); a.Refused == "" {
				t.Errorf("without a header: got %d, want the connection closed", a.Status)
			}
		})
	}
}

// TestStickySessions: the cookie that is made keeps a visitor, and a header its user, with one endpoint.
func TestStickySessions(t *testing.T) {
	e := loadExample(t, "sticky-sessions")
	// The built-in Gateway has fixed ports: the test brings one of its own.
	e.Put(t, "gateway.yaml", "kind: Gateway\nname: default\nlisteners: [{name: http, address: 127.0.0.1, port: "+strconv.Itoa(e.port(t, "8080"))+", protocol: HTTP}]\n")
	run := harness.Start(t, "run", sluice(t), "run", "-f", e.Dir, "--admin", harness.Loopback(t), "--listen", "127.0.0.1:0",
		"--demo-upstream", "s1="+e.addr(t, "9001"), "--demo-upstream", "s2="+e.addr(t, "9002"), "--demo-upstream", "s3="+e.addr(t, "9003"))
	run.WaitLog(`(?s)Serving.*http://`)
	ask := func(host, header, value string) *harness.Answer {
		r := &harness.Request{Method: "GET", Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: host, Path: "/"}
		if header != "" {
			r.Header = []harness.Field{{Name: header, Value: value}}
		}
		a := harness.Do(r, false)
		if a.Status != 200 {
			t.Fatalf("%s: got %d %s, want 200", host, a.Status, a.Refused)
		}
		return a
	}
	visited := map[string]bool{}
	for range 30 {
		first := ask("shop.localhost", "", "")
		cookie, rest, _ := strings.Cut(first.Get("set-cookie"), ";")
		if rest != " Max-Age=3600; Path=/; HttpOnly" || !strings.HasPrefix(cookie, "shop-server=") {
			t.Fatalf("got Set-Cookie %q", first.Get("set-cookie"))
		}
		visited[first.Get("x-upstream")] = true
		for range 3 {
			if again := ask("shop.localhost", "cookie", cookie); again.Get("x-upstream") != first.Get("x-upstream") || again.Get("set-cookie") != "" {
				t.Errorf("with its cookie a visitor of %s goes to %s, and gets %q", first.Get("x-upstream"), again.Get("x-upstream"), again.Get("set-cookie"))
			}
		}
	}
	if len(visited) < 2 {
		t.Errorf("30 visitors went to %v, want several servers", visited)
	}
	users := map[string]bool{}
	for _, user := range []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"} {
		at := ask("cache.localhost", "x-user", user).Get("x-upstream")
		users[at] = true
		if again := ask("cache.localhost", "x-user", user).Get("x-upstream"); again != at {
			t.Errorf("%s goes to %s, and then to %s", user, at, again)
		}
	}
	if len(users) != 2 {
		t.Errorf("8 users went to %v, want both caches", users)
	}
}

// TestRewritesExample: each service sees the host and path that the example's README says.
func TestRewritesExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "rewrites")
			// The built-in Gateway has fixed ports: the test brings one of its own.
			e.Put(t, "gateway.yaml", "kind: Gateway\nname: default\nlisteners: [{name: http, address: 127.0.0.1, port: "+strconv.Itoa(e.port(t, "8080"))+", protocol: HTTP}]\n")
			for number, name := range map[string]string{"9001": "api", "9002": "shop", "9003": "legacy"} {
				e.demo(t, name, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for path, want := range map[string]string{
				"/api/users?a=b":   "Hello from api\nGET /users?a=b\nHost: localhost",
				"/api":             "Hello from api\nGET /\nHost: localhost",
				"/apis":            "Hello from shop\nGET /apis\nHost: localhost",
				"/items/42/socks":  "Hello from shop\nGET /socks/by-id/42\nHost: localhost",
				"/items/red/socks": "Hello from shop\nGET /items/red/socks\nHost: localhost",
				"/legacy/help":     "Hello from legacy\nGET /cgi-bin/start/help\nHost: legacy.internal",
			} {
				if a := e.get(t, "http", "localhost", "8080", path); a.Status != 200 || !strings.HasPrefix(string(a.Body), want) {
					t.Errorf("%s: got %d %q, want %q", path, a.Status, a.Body, want)
				}
			}
		})
	}
}
