package listener

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestTakeHeader(t *testing.T) {
	for _, test := range []struct {
		name, sent     string
		optional       bool
		source, rest   string
		bad, untouched bool
	}{
		{"and nothing else", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n", false, "203.0.113.7:4711", "", false, true},
		{"with bytes behind", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\nGET /", false, "203.0.113.7:4711", "GET /", false, false},
		{"unknown", "PROXY UNKNOWN\r\nGET /", false, "invalid AddrPort", "GET /", false, false},
		{"none", "GET /", false, "invalid AddrPort", "GET /", true, false},
		{"none, optional", "GET /", true, "invalid AddrPort", "GET /", false, false},
		{"bad, optional", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 70000\r\n", true, "invalid AddrPort", "", true, false},
	} {
		for _, how := range []string{"at once", "byte by byte"} {
			t.Run(test.name+" "+how, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				written, taken := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(written)
					defer near.Close()
					step := 1
					if how == "at once" {
						step = len(test.sent)
					}
					for i := 0; i < len(test.sent); i += step {
						_, _ = io.WriteString(near, test.sent[i:i+step])
					}
					<-taken
				}()
				h, rest, err := TakeHeader(far, time.Now().Add(5*time.Second), test.optional)
				close(taken)
				var bad *HeaderError
				if errors.As(err, &bad) != test.bad || !test.bad && err != nil {
					t.Fatalf("got %v, want bad: %v", err, test.bad)
				}
				if !test.bad {
					if h.Source.String() != test.source {
						t.Errorf("got %s, want %s", h.Source, test.source)
					}
					if test.untouched && rest != far {
						t.Error("the connection is wrapped, though nothing more was read")
					}
					if b, err := io.ReadAll(rest); string(b) != test.rest || err != nil {
						t.Errorf("then got %q, %v, want %q", b, err, test.rest)
					}
				}
				far.Close()
				<-written
			})
		}
	}
}

// TestTakeHeaderOnTime: neither silence, nor a header that stops, is waited for after the deadline; neither is malformed.
func TestTakeHeaderOnTime(t *testing.T) {
	for _, sent := range []string{"", "PROXY TCP4"} {
		near, far := net.Pipe()
		go func() { _, _ = io.WriteString(near, sent) }()
		_, _, err := TakeHeader(far, time.Now().Add(20*time.Millisecond), false)
		var bad *HeaderError
		if err == nil || errors.As(err, &bad) {
			t.Errorf("%q: got %v, want that it took too long", sent, err)
		}
		near.Close()
		far.Close()
	}
}
