package httpproxy

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

const forwarded = "x-forwarded-for: 192.0.2.9\r\nx-forwarded-proto: http\r\n"

// What goes upstream and what comes back, byte for byte but for dates and ids.
func TestExchange(t *testing.T) {
	answerOf := func(head string) string { return "HTTP/1.1 " + head + "\r\n\r\n" }
	tests := []struct {
		name, request string
		origin        origin
		sees, gets    string
		http          func(*config.HTTP)
	}{
		{name: "plain", request: get("/x?y=1", "X-A: b"), origin: say(ok),
			sees: "GET /x?y=1 HTTP/1.1\r\nhost: a.test\r\nX-A: b\r\n" + forwarded + "\r\n",
			gets: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"},
		{name: "hop by hop", request: get("/", "Connection: X-Foo, te", "X-Foo: 1", "Keep-Alive: a", "Proxy-Connection: z",
			"TE: trailers, gzip", "Proxy-Authorization: b", "Upgrade: x", "Trailer: q"), origin: say(ok),
			sees: "GET / HTTP/1.1\r\nhost: a.test\r\nProxy-Authorization: b\r\nTrailer: q\r\nte: trailers\r\n" + forwarded + "\r\n"},
		{name: "hop by hop in the answer", request: get("/"),
			origin: say("HTTP/1.1 200 Fine\r\nConnection: X-Foo\r\nX-Foo: 1\r\nKeep-Alive: a\r\nUpgrade: x\r\nServer: s\r\n" +
				"Proxy-Authenticate: b\r\nContent-Length: 2\r\n\r\nok"),
			gets: "HTTP/1.1 200 OK\r\nServer: s\r\nProxy-Authenticate: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"},
		{name: "strangers' claims", request: get("/", "X-Forwarded-For: 1.2.3.4", "x-forwarded-for: 5.6.7.8", "X-Forwarded-Proto: https",
			"X-Envoy-Internal: true", "x-envoy-retry-on: 5xx", "x-envoy-foo: kept", "X-Forwarded-Client-Cert: c", "X-Forwarded-Host: h"),
			origin: say(ok),
			sees: "GET / HTTP/1.1\r\nhost: a.test\r\nx-envoy-foo: kept\r\nX-Forwarded-Host: h\r\n" +
				"x-forwarded-for: 1.2.3.4,5.6.7.8,192.0.2.9\r\nx-forwarded-proto: http\r\n\r\n"},
		{name: "trusted hops", request: get("/", "X-Forwarded-For: 9.9.9.9, 1.2.3.4", "X-Forwarded-Proto: https"), origin: say(ok),
			http: func(h *config.HTTP) { h.XffTrustedHops = 1 },
			sees: "GET / HTTP/1.1\r\nhost: a.test\r\n" +
				"x-forwarded-for: 9.9.9.9, 1.2.3.4,192.0.2.9\r\nx-forwarded-proto: https\r\n\r\n"},
		{name: "a proxy before us", request: get("/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Envoy-Internal: true"),
			origin: say(ok), http: func(h *config.HTTP) { h.UseRemoteAddress = false },
			sees: "GET / HTTP/1.1\r\nhost: a.test\r\nX-Envoy-Internal: true\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n\r\n"},
		{name: "normalized path", request: get("/a/../%62/./c?d=/../"), origin: say(ok),
			sees: "GET /b/c?d=/../ HTTP/1.1\r\nhost: a.test\r\n" + forwarded + "\r\n"},
		{name: "path as it is", request: get("/a/../%62"), origin: say(ok), http: func(h *config.HTTP) { h.NormalizePath = false },
			sees: "GET /a/../%62 HTTP/1.1\r\nhost: a.test\r\n" + forwarded + "\r\n"},
		{name: "HEAD", request: request("HEAD", "/"), origin: say("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"),
			gets: "HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\n"},
		{name: "304", request: get("/"), origin: say(answerOf("304 Not Modified\r\nContent-Length: 20\r\nETag: x")),
			gets: "HTTP/1.1 304 Not Modified\r\nETag: x\r\ncontent-length: 20\r\nconnection: close\r\n\r\n"},
		{name: "204", request: get("/"), origin: say(answerOf("204 No Content")),
			gets: "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"},
		{name: "empty answer", request: get("/"), origin: say(answerOf("200 OK\r\nContent-Length: 0")),
			gets: "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
		{name: "status without a name", request: get("/"), origin: say(answerOf("599 Whatever\r\nContent-Length: 0")),
			gets: "HTTP/1.1 599 Unknown\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
		{name: "chunked answer with trailer", request: get("/"),
			origin: say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2;x\r\nok\r\n0\r\nX-T: 1\r\n\r\n"),
			gets: "HTTP/1.1 200 OK\r\nTrailer: X-T\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n" +
				"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"},
		{name: "answer until close", request: get("/"), origin: func(_ string, c *originConn) { c.say("HTTP/1.1 200 OK\r\n\r\nok"); c.Close() },
			gets: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{name: "early hints", request: get("/"), origin: say("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + ok),
			gets: "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"},
		{name: "100 that nobody waits for", request: get("/"), origin: say("HTTP/1.1 100 Continue\r\n\r\n" + ok),
			gets: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"},
		{name: "POST without a body", request: request("POST", "/"), origin: say(ok),
			sees: "POST / HTTP/1.1\r\nhost: a.test\r\n" + forwarded + "content-length: 0\r\n\r\n"},
		{name: "POST", request: request("POST", "/", "Content-Length: 3") + "abc",
			origin: func(_ string, c *originConn) { c.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + c.read(3)) },
			sees:   "POST / HTTP/1.1\r\nhost: a.test\r\n" + forwarded + "content-length: 3\r\n\r\n",
			gets:   "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"},
		{name: "chunked POST with trailer", request: request("POST", "/", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
			origin: func(_ string, c *originConn) {
				body := c.read(len("3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"))
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				if body != "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" {
					c.say("got " + body)
				}
			},
			sees: "POST / HTTP/1.1\r\nhost: a.test\r\n" + forwarded + "transfer-encoding: chunked\r\n\r\n",
			gets: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.origin, func(r *rig) {
				if tt.http != nil {
					tt.http(r.http)
				}
			})
			// Each is asked twice on a connection, so that what the first leaves behind would show.
			c := r.dial()
			c.say(tt.request)
			c.answer1(tt.gets, tt.request)
			closing := strings.Replace(tt.request, "Host: a.test\r\n", "Host: a.test\r\nConnection: close\r\n", 1)
			c.say(closing)
			got := plain(c.rest())
			if tt.gets != "" && got != tt.gets {
				t.Errorf("the client got\n%q\nwant\n%q", got, tt.gets)
			}
			seen := r.requests()
			if len(seen) != 2 {
				t.Fatalf("the origin saw %d requests, want 2: %q", len(seen), seen)
			}
			for _, s := range seen {
				if !regexp.MustCompile(`(?m)^x-request-id: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\r$`).MatchString(s) {
					t.Errorf("no id in %q", s)
				}
				if got := plain(s); tt.sees != "" && got != tt.sees {
					t.Errorf("the origin saw\n%q\nwant\n%q", got, tt.sees)
				}
			}
		})
	}
}

// answer1 reads an answer and what came before it.
func (p *peer) answer1(want, request string) {
	p.t.Helper()
	method, _, _ := strings.Cut(request, " ")
	for {
		a := p.answer(method)
		if a.err != nil {
			p.t.Fatal(a.err)
		}
		if a.StatusCode >= 200 {
			return
		}
	}
}

// Answers of the proxy itself are Envoy's.
func TestLocalReplies(t *testing.T) {
	const noAnswer = "upstream connect error or disconnect/reset before headers. reset reason: "
	closing := func(_ string, c *originConn) { c.Close() }
	tests := []struct {
		name, request string
		origin        origin
		change        func(*rig)
		status        int
		body, header  string
		value         string
		flag          string
	}{
		{name: "no route", request: get("/x"), origin: say(ok), change: func(r *rig) { r.routes = nil }, status: 404},
		{name: "CONNECT", request: "CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n", origin: say(ok), status: 404},
		{name: "OPTIONS *", request: request("OPTIONS", "*"), origin: say(ok), status: 404},
		{name: "upgrade", request: get("/", "Connection: Upgrade", "Upgrade: websocket"), origin: say(ok), status: 403},
		{name: "path with NUL", request: get("/%00"), origin: say(ok), status: 400},
		{name: "no cluster", request: get("/"), origin: say(ok), status: 503,
			change: func(r *rig) { r.routes[0].Clusters[0].Name = "missing" }},
		{name: "no endpoint", request: get("/"), status: 503, body: "no healthy upstream"},
		{name: "circuit breaker", request: get("/"), origin: say(ok), status: 503, body: noAnswer + "overflow",
			change: func(r *rig) { r.cluster.MaxRequests = 0 }},
		{name: "connection refused", request: get("/"), status: 503, body: noAnswer + "remote connection failure",
			change: func(r *rig) {
				l := r.listen()
				r.cluster.Static = []config.Endpoint{{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}}
				l.Close()
			}},
		{name: "upstream closes", request: get("/"), origin: closing, status: 503, body: noAnswer + "connection termination"},
		{name: "upstream closes within the head", request: get("/"), status: 503, body: noAnswer + "connection termination",
			origin: func(_ string, c *originConn) { c.say("HTTP/1.1 200 OK\r\nX"); c.Close() }},
		{name: "bad answer", request: get("/"), origin: say("nonsense\r\n\r\n"), status: 502, body: noAnswer + "protocol error"},
		{name: "two lengths", request: get("/"), origin: say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"),
			status: 502, body: noAnswer + "protocol error"},
		{name: "101 unasked", request: get("/"), origin: say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
			status: 502, body: noAnswer + "protocol error"},
		{name: "too slow", request: get("/"), origin: func(_ string, c *originConn) { c.drain() }, status: 504,
			body: "upstream request timeout", change: func(r *rig) { r.routes[0].Timeout = 30 * time.Millisecond }},
		{name: "nothing moves", request: get("/"), origin: func(_ string, c *originConn) { c.drain() }, status: 504,
			body: "stream timeout", change: func(r *rig) { r.http.StreamIdleTimeout = 30 * time.Millisecond }},
		{name: "the request does not move", request: request("POST", "/", "Content-Length: 3") + "a", status: 408,
			origin: func(_ string, c *originConn) { c.drain() }, body: "stream timeout",
			change: func(r *rig) { r.http.StreamIdleTimeout = 30 * time.Millisecond }},
		{name: "the request takes too long", request: request("POST", "/", "Content-Length: 3") + "a", status: 408,
			origin: func(_ string, c *originConn) { c.drain() }, body: "request timeout",
			change: func(r *rig) { r.options.RequestTimeout = 30 * time.Millisecond }},
		{name: "bad chunk", request: request("POST", "/", "Transfer-Encoding: chunked") + "zz\r\n", status: 400,
			origin: func(_ string, c *originConn) { c.drain() }, body: "Bad Request"},
		{name: "direct response", request: get("/"), status: 418, body: "short and stout", header: "Content-Type", value: "text/plain",
			change: func(r *rig) {
				r.routes[0].Clusters, r.routes[0].Respond = nil, &config.Response{Status: 418, Body: "short and stout"}
			}},
		{name: "redirect", request: get("/a?b"), status: 301, header: "Location", value: "https://a.test/a?b",
			change: func(r *rig) {
				r.routes[0].Clusters, r.routes[0].Redirect = nil, &config.Redirect{Scheme: "https", Status: 301}
			}},
		{name: "gRPC", request: request("POST", "/", "Content-Type: application/grpc"), status: 200,
			header: "Grpc-Message", value: "no healthy upstream"},
		{name: "gRPC, and a route that answers", request: request("POST", "/", "Content-Type: application/grpc+proto"), status: 200,
			header: "Grpc-Message", value: "5%25 %7E %C3%BC%0A", change: func(r *rig) {
				r.routes[0].Clusters, r.routes[0].Respond = nil, &config.Response{Status: 418, Body: "5% ~ ü\n"}
			}},
		{name: "gRPC's status", request: request("POST", "/", "Content-Type: application/grpc"), status: 200,
			header: "Grpc-Status", value: "12", origin: say(ok), change: func(r *rig) { r.routes = nil }},
		{name: "made here", request: get("/a?b"), status: 201, header: "Location", value: "http://a.test/a?b",
			change: func(r *rig) { r.routes[0].Clusters, r.routes[0].Respond = nil, &config.Response{Status: 201} }},
		{name: "codec", request: get("/ x"), status: 400, body: "Bad Request"},
		{name: "HTTP/1.0", request: "GET / HTTP/1.0\r\nHost: a\r\n\r\n", status: 426, body: "Upgrade Required"},
		{name: "head too large", request: get("/", "X: "+strings.Repeat("a", 70000)), status: 431, body: "Request Header Fields Too Large"},
		{name: "too many fields", request: get("/", strings.Split(strings.Repeat("X: a,", 101), ",")[:101]...), status: 431,
			body: "Request Header Fields Too Large"},
		{name: "head too slow", request: "GET / HTTP/1.1\r\nHos", status: 408, body: "request header timeout",
			change: func(r *rig) { r.options.RequestHeadersTimeout = 30 * time.Millisecond }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.origin, func(r *rig) {
				if tt.change != nil {
					tt.change(r)
				}
			})
			c := r.dial().say(tt.request)
			a := c.answer("GET")
			if a.StatusCode != tt.status || a.body != tt.body {
				t.Errorf("got %d %q, want %d %q", a.StatusCode, a.body, tt.status, tt.body)
			}
			if tt.header != "" && a.Header.Get(tt.header) != tt.value {
				t.Errorf("got %s %q, want %q", tt.header, a.Header.Get(tt.header), tt.value)
			}
			if a.Header.Get("Date") == "" {
				t.Error("no date")
			}
			if a.Close {
				c.ended()
				return
			}
			// The connection goes on.
			c.say(tt.request)
			if again := c.answer("GET"); again.StatusCode != tt.status {
				t.Errorf("the second answer is %d, want %d", again.StatusCode, tt.status)
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	r := newRig(t, func(head string, c *originConn) {
		path := strings.Fields(head)[1]
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + path)
	})
	c := r.dial().say(get("/1") + get("/2") + get("/3"))
	for _, want := range []string{"/1", "/2", "/3"} {
		if a := c.answer("GET"); a.body != want {
			t.Errorf("got %q, want %q", a.body, want)
		}
	}
	if n := r.client.Cluster.Stats.ConnectionsTotal.Load(); n != 1 {
		t.Errorf("%d upstream connections, want 1", n)
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t, func(head string, c *originConn) {
		if strings.Contains(head, "xpect") {
			c.say("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
			return
		}
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + c.read(3))
	})
	c := r.dial()
	for range 2 {
		c.say(request("POST", "/", "Expect: 100-continue", "Content-Length: 3"))
		if a := c.answer("POST"); a.StatusCode != 100 {
			t.Fatalf("got %d, want 100", a.StatusCode)
		}
		c.say("abc")
		if a := c.answer("POST"); a.StatusCode != 200 || a.body != "abc" {
			t.Fatalf("got %d %q", a.StatusCode, a.body)
		}
	}
}

// An answer that comes while the body is still on its way is passed on, and the connections end.
func TestEarlyAnswer(t *testing.T) {
	closed := make(chan struct{})
	r := newRig(t, func(_ string, c *originConn) {
		c.read(10)
		c.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		c.drain()
		close(closed)
	})
	c := r.dial().say(request("POST", "/", "Content-Length: 100000000") + strings.Repeat("a", 100))
	a := c.answer("POST")
	if a.StatusCode != 413 || a.body != "no" || !a.Close {
		t.Errorf("got %d %q, close %v", a.StatusCode, a.body, a.Close)
	}
	<-closed
	c.Close()
}

// Bodies stream both ways at once.
func TestFullDuplex(t *testing.T) {
	r := newRig(t, func(_ string, c *originConn) {
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "0\r\n" {
				c.read(2)
				c.say("0\r\n\r\n")
				return
			}
			data := c.read(3) // "x\r\n"
			c.say(line + data)
		}
	})
	c := r.dial().say(request("POST", "/", "Transfer-Encoding: chunked"))
	res := c.head(t)
	if !strings.HasPrefix(res, "HTTP/1.1 200") {
		t.Fatalf("got %q", res)
	}
	for _, s := range []string{"a", "b", "c"} {
		c.say("1\r\n" + s + "\r\n")
		b := make([]byte, 6)
		if _, err := io.ReadFull(c.r, b); err != nil || string(b) != "1\r\n"+s+"\r\n" {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	c.say("0\r\n\r\n")
	b := make([]byte, 5)
	if _, err := io.ReadFull(c.r, b); err != nil || string(b) != "0\r\n\r\n" {
		t.Fatalf("got %q, %v", b, err)
	}
	// When the answer began nobody knew whether the body would ever be whole.
	if !strings.Contains(res, "connection: close\r\n") {
		t.Errorf("the answer does not say that the connection ends: %q", res)
	}
	c.ended()
}

// Who is answered before its body has come is told that the connection ends: its next request would get no answer. A body
// that is here already costs nobody the connection.
func TestAnsweredAhead(t *testing.T) {
	early := func(_ string, c *originConn) {
		c.say(ok)
		c.drain()
	}
	for name, keep := range map[string]func(*rig){"no retries": func(*rig) {}, "a body that is kept": retrying(config.Retry{On: config.On5xx})} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, early, keep).dial().say(request("POST", "/", "Content-Length: 10") + "first")
			if a := c.answer("POST"); a.StatusCode != 200 || a.body != "ok" || !a.Close {
				t.Errorf("got %d %q, close %v, want 200 ok and that the connection ends", a.StatusCode, a.body, a.Close)
			}
		})
	}
	respond := func(r *rig) { r.routes[0].Respond = &config.Response{Status: 200, Body: "ok"} }
	for name, tt := range map[string]struct {
		request string
		closes  bool
	}{
		"a length, all here":    {request("POST", "/", "Content-Length: 5") + "first", false},
		"a length, half here":   {request("POST", "/", "Content-Length: 10") + "first", true},
		"chunks, all here":      {request("POST", "/", "Transfer-Encoding: chunked") + "5\r\nfirst\r\n0\r\n\r\n", false},
		"chunks, half here":     {request("POST", "/", "Transfer-Encoding: chunked") + "5\r\nfirst\r\n", true},
		"chunks that are none":  {request("POST", "/", "Transfer-Encoding: chunked") + "5\r\nfirst\r\nx", true},
		"a length, to be asked": {request("POST", "/", "Content-Length: 5", "Expect: 100-continue"), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, early, respond).dial().say(tt.request)
			a := c.answer("POST")
			if a.StatusCode != 200 || a.body != "ok" || a.Close != tt.closes {
				t.Errorf("got %d %q, close %v, want 200 ok, %v", a.StatusCode, a.body, a.Close, tt.closes)
			}
			if tt.closes {
				c.ended()
			} else if a := c.say(get("/")).answer("GET"); a.StatusCode != 200 {
				t.Errorf("and then: got %d, want 200", a.StatusCode)
			}
		})
	}
}

func (p *peer) head(t *testing.T) string {
	t.Helper()
	head, err := readHead(p.r)
	if err != nil {
		t.Fatal(err)
	}
	return head
}
