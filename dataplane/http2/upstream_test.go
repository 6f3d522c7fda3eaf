package http2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// TestUpstreamFailures is what an upstream may do to an exchange, and what is made of it.
func TestUpstreamFailures(t *testing.T) {
	headers := func(f *xhttp2.Framer, end bool, fields ...string) {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	}
	for _, test := range []struct {
		name      string
		answer    func(f *xhttp2.Framer, c net.Conn)
		kind      failure.Kind
		retryable bool
		// body: the head is fine, and reading the body fails.
		body bool
	}{
		{"refused stream", func(f *xhttp2.Framer, _ net.Conn) { _ = f.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream) },
			failure.Reset, true, false},
		{"reset", func(f *xhttp2.Framer, _ net.Conn) { _ = f.WriteRSTStream(1, xhttp2.ErrCodeCancel) },
			failure.Reset, false, false},
		{"GOAWAY, not processed", func(f *xhttp2.Framer, _ net.Conn) { _ = f.WriteGoAway(0, xhttp2.ErrCodeNo, nil) },
			failure.Reset, true, false},
		{"closed on the first stream", func(_ *xhttp2.Framer, c net.Conn) { c.Close() }, failure.Reset, false, false},
		{"no status", func(f *xhttp2.Framer, _ net.Conn) { headers(f, true, "x", "y") }, failure.BadResponse, false, false},
		{"bad status", func(f *xhttp2.Framer, _ net.Conn) { headers(f, true, ":status", "2xx") }, failure.BadResponse, false, false},
		{"status 99", func(f *xhttp2.Framer, _ net.Conn) { headers(f, true, ":status", "99") }, failure.BadResponse, false, false},
		{"status 101", func(f *xhttp2.Framer, _ net.Conn) { headers(f, false, ":status", "101") }, failure.BadResponse, false, false},
		{"LF in a value", func(f *xhttp2.Framer, _ net.Conn) { headers(f, true, ":status", "200", "x", "a\nb") },
			failure.BadResponse, false, false},
		{"upper case", func(f *xhttp2.Framer, _ net.Conn) { headers(f, true, ":status", "200", "X", "a") },
			failure.BadResponse, false, false},
		{"data first", func(f *xhttp2.Framer, _ net.Conn) { _ = f.WriteData(1, true, []byte("x")) }, failure.BadResponse, false, false},
		{"many early answers", func(f *xhttp2.Framer, _ net.Conn) {
			for range 2 * maxEarly {
				headers(f, false, ":status", "103")
			}
		}, failure.BadResponse, false, false},
		{"reset in the body", func(f *xhttp2.Framer, _ net.Conn) {
			headers(f, false, ":status", "200")
			_ = f.WriteRSTStream(1, xhttp2.ErrCodeInternal)
		}, failure.Reset, false, true},
		{"closed in the body", func(f *xhttp2.Framer, c net.Conn) {
			headers(f, false, ":status", "200")
			c.Close()
		}, failure.Reset, false, true},
		{"short body", func(f *xhttp2.Framer, _ net.Conn) {
			headers(f, false, ":status", "200", "content-length", "3")
			_ = f.WriteData(1, true, []byte("hi"))
		}, failure.BadResponse, false, true},
		{"long body", func(f *xhttp2.Framer, _ net.Conn) {
			headers(f, false, ":status", "200", "content-length", "1")
			_ = f.WriteData(1, true, []byte("hi"))
		}, failure.BadResponse, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := sockets(t)
			defer far.Close()
			_ = far.SetDeadline(time.Now().Add(5 * time.Second))
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = io.ReadFull(far, make([]byte, len(Preface)))
				framer := xhttp2.NewFramer(far, far)
				_ = framer.WriteSettings()
				for {
					frame, err := framer.ReadFrame()
					if err != nil {
						return
					}
					if frame.Header().Type == xhttp2.FrameHeaders {
						test.answer(framer, far)
					}
				}
			}()
			c, err := NewClientConn(near, ClientOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { c.Close(); far.Close(); <-done }()
			x := c.NewExchange()
			defer x.Close(false)
			if err := x.WriteRequest(get("/"), true); err != nil {
				t.Fatal(err)
			}
			res, err := x.ReadResponse()
			for err == nil && res.Status < 200 && res.Status >= 100 {
				res, err = x.ReadResponse()
			}
			if test.body != (err == nil) {
				t.Fatalf("head: %v", err)
			}
			if test.body {
				_, err = io.ReadAll(x)
			}
			f := asFailure(t, err)
			if f.Kind != test.kind || f.Retryable != test.retryable || f.Refused != test.retryable || f.Unsent {
				t.Errorf("got %v (retryable %v, refused %v, unsent %v)", f, f.Retryable, f.Refused, f.Unsent)
			}
		})
	}
}

// TestClosedBeforeUse: a connection that ended before its first stream lost nothing.
func TestClosedBeforeUse(t *testing.T) {
	near, far := sockets(t)
	c, err := NewClientConn(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	held := c.NewExchange()
	far.Close()
	for !c.Closed() {
		time.Sleep(time.Millisecond)
	}
	if c.NewExchange() != nil {
		t.Error("an exchange on a connection that is over")
	}
	defer held.Close(true)
	if f := asFailure(t, held.WriteRequest(get("/"), true)); f.Kind != failure.Reset || !f.Retryable || !f.Unsent {
		t.Errorf("got %v (retryable %v, unsent %v)", f, f.Retryable, f.Unsent)
	}
}
