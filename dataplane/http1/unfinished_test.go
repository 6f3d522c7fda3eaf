package http1

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestUnfinished: an answer that its handler does not end is visibly not whole, unless it has all of its length: then the client
// asks for more on the same connection, and is answered.
func TestUnfinished(t *testing.T) {
	const ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	respond := func(length int64, body string) func(s *ServerStream) {
		return func(s *ServerStream) {
			_ = s.Respond(&message.Response{Proto: message.HTTP11, Status: 200, ContentLength: length}, false)
			_, _ = s.Write([]byte(body))
		}
	}
	flushed := func(s *ServerStream) {
		respond(3, "abc")(s)
		_ = s.Flush()
	}
	for _, tt := range []struct {
		name, method, ask string
		handle            func(s *ServerStream)
		body              string
		// cut: the client sees that the answer is not whole. goesOn: the next request is answered.
		cut, goesOn bool
	}{
		{"all of its length", "GET", ask, respond(3, "abc"), "abc", false, true},
		{"all of its length, sent", "GET", ask, flushed, "abc", false, true},
		{"a length of 0", "GET", ask, respond(0, ""), "", false, true},
		{"HEAD", "HEAD", strings.Replace(ask, "GET", "HEAD", 1), respond(3, "abc"), "", false, true},
		{"a byte too few", "GET", ask, respond(3, "ab"), "ab", true, false},
		{"a byte too many", "GET", ask, func(s *ServerStream) { flushed(s); _, _ = s.Write([]byte("d")) }, "abc", false, false},
		{"chunked", "GET", ask, respond(-1, "abc"), "abc", true, false},
		{"the last it was to be", "GET", strings.Replace(ask, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), respond(3, "abc"), "abc", false, false},
		{"a request that was not read", "POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", respond(3, "abc"), "abc", false, false},
		{"a panic", "GET", ask, func(s *ServerStream) { flushed(s); panic("test") }, "abc", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := pair(t)
			_ = far.SetDeadline(time.Now().Add(20 * time.Second))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				first := true
				ServeConn(near, ServerOptions{}, func(s *ServerStream) {
					if first {
						first = false
						tt.handle(s)
						return
					}
					_ = s.Respond(&message.Response{Proto: message.HTTP11, Status: 204}, true)
					_ = s.End(nil)
				})
			}()
			r := bufio.NewReader(far)
			answer := func(method string) (*http.Response, string, error) {
				res, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					return nil, "", err
				}
				body, err := io.ReadAll(res.Body)
				return res, string(body), err
			}
			_, _ = io.WriteString(far, tt.ask)
			if res, body, err := answer(tt.method); res == nil || body != tt.body || (err != nil) != tt.cut {
				t.Errorf("got %v with %q, %v, want %q, cut %v", res, body, err, tt.body, tt.cut)
			}
			_, _ = io.WriteString(far, ask)
			if res, _, err := answer("GET"); (err == nil) != tt.goesOn || tt.goesOn && res.StatusCode != 204 {
				t.Errorf("the next request: got %v, %v, want an answer: %v", res, err, tt.goesOn)
			}
			far.Close()
			<-ended
		})
	}
}
