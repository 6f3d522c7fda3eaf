package http2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a ClientConn and a served connection on loopback.
func pair(t *testing.T, opts ServerOptions, handle func(*ServerStream)) *ClientConn {
	t.Helper()
	near, far := sockets(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeConn(far, opts, handle)
	}()
	c, err := NewClientConn(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	// The answer to a PING comes after the server's SETTINGS.
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func sockets(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func get(path string) *message.Request {
	return &message.Request{Proto: message.HTTP2, Method: "GET", Scheme: "http", Authority: "shop.test", Path: path}
}

func want[T comparable](t *testing.T, what string, got, expected T) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %v, want %v", what, got, expected)
	}
}

func TestBothWays(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	c := pair(t, ServerOptions{}, func(s *ServerStream) {
		r := s.Request()
		want(t, "method", r.Method, "POST")
		want(t, "path", r.Path, "//a/%2e/b?x=1&&y")
		want(t, "authority", r.Authority, "shop.test")
		want(t, "scheme", r.Scheme, "http")
		want(t, "length", r.ContentLength, -1)
		te, _ := r.Header.Get("te")
		want(t, "te", te, "trailers")
		want(t, "connection", r.Header.Has("keep-alive"), false)
		body, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(body, big) {
			t.Errorf("request body: %d bytes, %v", len(body), err)
		}
		want(t, "request trailer", fmt.Sprint(r.Trailer), "[{x-sum 7} {x-undeclared 8}]")
		head := message.Response{Status: 200, ContentLength: -1, Header: message.Header{
			{Name: "Content-Type", Value: "a/b"}, {Name: "Connection", Value: "close"}, {Name: "Set-Cookie", Value: "a=1"},
			{Name: "Set-Cookie", Value: "b=2"}}}
		if err := s.Respond(&head, false); err != nil {
			t.Error(err)
		}
		if n, err := s.Write(big); n != len(big) || err != nil {
			t.Error(n, err)
		}
		if err := s.End(message.Header{{Name: "Grpc-Status", Value: "0"}, {Name: "Grpc-Message", Value: "ok"}}); err != nil {
			t.Error(err)
		}
	})
	x := c.NewExchange()
	defer x.Close(true)
	head := get("//a/%2e/b?x=1&&y")
	head.Method = "POST"
	head.ContentLength = -1
	head.Header = message.Header{{Name: "TE", Value: "gzip, trailers"}, {Name: "Keep-Alive", Value: "5"},
		{Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Host", Value: "shop.test"}, {Name: "Trailer", Value: "X-Sum"}}
	if err := x.WriteRequest(head, false); err != nil {
		t.Fatal(err)
	}
	if n, err := x.Write(big); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if err := x.End(message.Header{{Name: "x-sum", Value: "7"}, {Name: "x-undeclared", Value: "8"}}); err != nil {
		t.Fatal(err)
	}
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "status", res.Status, 200)
	want(t, "length", res.ContentLength, -1)
	want(t, "header", fmt.Sprint(res.Header), "[{content-type a/b} {set-cookie a=1} {set-cookie b=2}]")
	body, err := io.ReadAll(x)
	if err != nil || !bytes.Equal(body, big) {
		t.Errorf("body: %d bytes, %v", len(body), err)
	}
	want(t, "trailer", fmt.Sprint(res.Trailer), "[{grpc-status 0} {grpc-message ok}]")
}

// TestFullDuplex is a gRPC stream: each side speaks in turn, on one stream.
func TestFullDuplex(t *testing.T) {
	c := pair(t, ServerOptions{}, func(s *ServerStream) {
		if err := s.Respond(&message.Response{Status: 200}, false); err != nil {
			t.Error(err)
		}
		_ = s.Flush()
		buf := make([]byte, 100)
		for {
			n, err := s.Read(buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = s.Write(bytes.ToUpper(buf[:n]))
			_ = s.Flush()
		}
		_ = s.End(message.Header{{Name: "grpc-status", Value: "0"}})
	})
	x := c.NewExchange()
	defer x.Close(true)
	head := get("/echo")
	head.Method = "POST"
	if err := x.WriteRequest(head, false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, word := range []string{"one", "two", "three"} {
		if _, err := x.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if err := x.Flush(); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(x, buf[:len(word)])
		if err != nil {
			t.Fatal(err)
		}
		want(t, "echo", string(buf[:n]), strings.ToUpper(word))
	}
	if err := x.End(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Read(buf); err != io.EOF {
		t.Fatal(err)
	}
	want(t, "trailer", fmt.Sprint(res.Trailer), "[{grpc-status 0}]")
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name, method string
		answer       func(s *ServerStream)
		want         string
	}{
		{"no body", "GET", func(s *ServerStream) { _ = s.Respond(&message.Response{Status: 404}, true) }, `404 0 [] ""`},
		{"trailers only", "POST", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "grpc-status", Value: "5"}}}, true)
			_ = s.Flush()
		}, `200 0 [{grpc-status 5}] ""`},
		{"length", "GET", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "content-length", Value: "2"}}}, false)
			_, _ = s.Write([]byte("hi"))
			_ = s.End(nil)
		}, `200 2 [{content-length 2}] "hi"`},
		{"HEAD", "HEAD", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "content-length", Value: "2"}}}, true)
		}, `200 0 [{content-length 2}] ""`},
		{"304", "GET", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 304, Header: message.Header{{Name: "etag", Value: `"x"`}}}, true)
		}, `304 0 [{etag "x"}] ""`},
		{"early hints", "GET", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 103, Header: message.Header{{Name: "link", Value: "</a>"}}}, false)
			_ = s.Respond(&message.Response{Status: 200}, true)
		}, `103 [{link </a>}] 200 0 [] ""`},
		{"early answer", "POST", func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 413}, true)
		}, `413 0 [] ""`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := pair(t, ServerOptions{}, test.answer)
			x := c.NewExchange()
			defer x.Close(true)
			head := get("/")
			head.Method = test.method
			if err := x.WriteRequest(head, test.method != "POST"); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
			res, err := x.ReadResponse()
			got := ""
			if err == nil && res.Status < 200 {
				got = fmt.Sprintf("%d %v ", res.Status, res.Header)
				res, err = x.ReadResponse()
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(x)
			if err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf("%d %d %v %q", res.Status, res.ContentLength, res.Header, body)
			want(t, "answer", got, test.want)
		})
	}
}

func asFailure(t *testing.T, err error) *failure.Error {
	t.Helper()
	var f *failure.Error
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a *failure.Error", err)
	}
	return f
}

func TestServerReset(t *testing.T) {
	for name, handle := range map[string]func(s *ServerStream){
		"reset":          func(s *ServerStream) { _ = s.Respond(&message.Response{Status: 200}, false); _ = s.Flush(); s.Reset() },
		"not ended":      func(s *ServerStream) { _ = s.Respond(&message.Response{Status: 200}, false); _ = s.Flush() },
		"panic":          func(s *ServerStream) { _ = s.Respond(&message.Response{Status: 200}, false); _ = s.Flush(); panic("x") },
		"reset, waiting": func(s *ServerStream) { go s.Reset(); _, _ = s.Read(make([]byte, 1)) },
		"no answer":      func(s *ServerStream) {},
	} {
		t.Run(name, func(t *testing.T) {
			panics := make(chan any, 1)
			c := pair(t, ServerOptions{Panicked: func(v any, _ []byte) { panics <- v }}, handle)
			x := c.NewExchange()
			defer x.Close(false)
			if err := x.WriteRequest(get("/"), name != "reset, waiting"); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
			_, err := x.ReadResponse()
			if err == nil {
				_, err = io.ReadAll(x)
			}
			f := asFailure(t, err)
			want(t, "kind", f.Kind, failure.StreamReset)
			want(t, "retryable", f.Retryable, false)
			if name == "panic" {
				want(t, "panic", <-panics, any("x"))
			}
		})
	}
}

func TestClientGone(t *testing.T) {
	failures := make(chan error, 2)
	begun := make(chan struct{})
	c := pair(t, ServerOptions{}, func(s *ServerStream) {
		close(begun)
		_, err := s.Read(make([]byte, 1))
		failures <- err
		<-s.Context().Done()
		failures <- s.Respond(&message.Response{Status: 200}, true)
	})
	x := c.NewExchange()
	if err := x.WriteRequest(get("/"), false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	<-begun
	x.Close(false)
	for range 2 {
		want(t, "kind", asFailure(t, <-failures).Kind, failure.ClientGone)
	}
	_, err := x.ReadResponse()
	want(t, "kind", asFailure(t, err).Kind, failure.Reset)
}

func TestReadDeadline(t *testing.T) {
	c := pair(t, ServerOptions{}, func(s *ServerStream) {
		_ = s.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := s.Read(make([]byte, 1))
		want(t, "kind", asFailure(t, err).Kind, failure.RequestTimeout)
		_ = s.Respond(&message.Response{Status: 408}, true)
	})
	x := c.NewExchange()
	defer x.Close(false)
	if err := x.WriteRequest(get("/"), false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "status", res.Status, 408)
}

func TestDrain(t *testing.T) {
	drain, begun, proceed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := pair(t, ServerOptions{Drain: drain}, func(s *ServerStream) {
		close(begun)
		<-proceed
		_ = s.Respond(&message.Response{Status: 200}, true)
	})
	x := c.NewExchange()
	defer x.Close(true)
	if err := x.WriteRequest(get("/"), true); err != nil {
		t.Fatal(err)
	}
	<-begun
	close(drain)
	for c.CanTakeNewRequest() {
		// GOAWAY is under way: a PING's answer comes after it, or soon.
		_ = c.Ping(t.Context())
	}
	if c.NewExchange() != nil {
		t.Error("a stream after GOAWAY")
	}
	close(proceed)
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "status", res.Status, 200)
	for !c.Closed() {
		_ = c.Ping(context.Background())
	}
}

func TestStreamLimit(t *testing.T) {
	release := make(chan struct{})
	c := pair(t, ServerOptions{MaxConcurrentStreams: 1}, func(s *ServerStream) {
		<-release
		_ = s.Respond(&message.Response{Status: 200}, true)
	})
	x := c.NewExchange()
	defer x.Close(true)
	if err := x.WriteRequest(get("/"), true); err != nil {
		t.Fatal(err)
	}
	for c.Active() == 0 {
		_ = c.Ping(t.Context())
	}
	want(t, "room", c.CanTakeNewRequest(), false)
	if c.NewExchange() != nil {
		t.Error("a stream above the limit")
	}
	close(release)
	if _, err := x.ReadResponse(); err != nil {
		t.Fatal(err)
	}
}
