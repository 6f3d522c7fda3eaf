package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is an upstream that does what a test tells it, frame by frame.
type script struct {
	t    testing.TB
	conn net.Conn
	*xhttp2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	// got are the client's frames in words: "HEADERS 1 end", "DATA 1 10", "RST 1 CANCEL", "GOAWAY NO_ERROR", "closed".
	got chan string
}

// scripted is a client's connection to one, which has greeted unless settings are nil.
func scripted(t testing.TB, opts ClientOptions, settings []xhttp2.Setting) (*ClientConn, *script) {
	t.Helper()
	near, far := sockets(t)
	return scriptedOver(t, near, far, opts, settings)
}

func scriptedOver(t testing.TB, near, far net.Conn, opts ClientOptions, settings []xhttp2.Setting) (*ClientConn, *script) {
	s := &script{t: t, conn: far, Framer: xhttp2.NewFramer(far, far), got: make(chan string, 10000)}
	s.AllowIllegalWrites = true
	s.encoder = hpack.NewEncoder(&s.block)
	started := make(chan struct{})
	go func() {
		_, _ = io.ReadFull(far, make([]byte, len(Preface)))
		if settings != nil {
			// net.Pipe has no buffer: the client must be reading.
			go func() {
				defer close(started)
				_ = s.WriteSettings(settings...)
			}()
		} else {
			close(started)
		}
		s.listen()
	}()
	c, err := NewClientConn(near, opts)
	if err != nil {
		t.Fatal(err)
	}
	<-started
	t.Cleanup(func() {
		c.Close()
		far.Close()
		for line := range s.got {
			_ = line
		}
	})
	return c, s
}

// greeted is the usual beginning; the client knows of it when it returns.
func greeted(t testing.TB, opts ClientOptions, settings ...xhttp2.Setting) (*ClientConn, *script) {
	if settings == nil {
		settings = []xhttp2.Setting{}
	}
	c, s := scripted(t, opts, settings)
	s.await("SETTINGS ack")
	return c, s
}

func (s *script) listen() {
	defer close(s.got)
	// Another Framer, since the test writes meanwhile.
	answers := xhttp2.NewFramer(s.conn, nil)
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			s.got <- "closed"
			return
		}
		h := frame.Header()
		line := fmt.Sprintf("%v %d", h.Type, h.StreamID)
		switch f := frame.(type) {
		case *xhttp2.DataFrame:
			line += fmt.Sprintf(" %d", len(f.Data()))
		case *xhttp2.RSTStreamFrame:
			line = fmt.Sprintf("RST %d %v", h.StreamID, f.ErrCode)
		case *xhttp2.GoAwayFrame:
			line = "GOAWAY " + f.ErrCode.String()
		case *xhttp2.WindowUpdateFrame:
			line += fmt.Sprintf(" %d", f.Increment)
		case *xhttp2.SettingsFrame:
			line = "SETTINGS"
			if f.IsAck() {
				line += " ack"
			}
		case *xhttp2.PingFrame:
			line = "PING"
			if f.IsAck() {
				line += " ack"
			} else {
				_ = answers.WritePing(true, f.Data)
			}
		}
		if (h.Type == xhttp2.FrameData || h.Type == xhttp2.FrameHeaders) && h.Flags.Has(xhttp2.FlagDataEndStream) {
			line += " end"
		}
		s.got <- line
	}
}

// await waits for a frame that begins so, and returns it.
func (s *script) await(prefix string) string {
	s.t.Helper()
	var seen []string
	timeout := time.After(5 * time.Second)
	for {
		select {
		case line, ok := <-s.got:
			if strings.HasPrefix(line, prefix) {
				return line
			}
			if seen = append(seen[max(0, len(seen)-20):], line); !ok {
				s.t.Fatalf("waited for %q, got %q", prefix, seen)
			}
		case <-timeout:
			s.t.Fatalf("waited for %q, got %q", prefix, seen)
		}
	}
}

// section encodes fields, given as name, value, and so on.
func (s *script) section(fields ...string) []byte {
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return s.block.Bytes()
}

// head sends a field section.
func (s *script) head(id uint32, end bool, fields ...string) {
	_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: s.section(fields...), EndHeaders: true, EndStream: end})
}

// exchanged begins an exchange without a body, and waits until the upstream has its head.
func exchanged(t testing.TB, c *ClientConn, s *script) *ClientStream {
	t.Helper()
	x := c.NewExchange()
	if x == nil {
		t.Fatal("no room")
	}
	if err := x.WriteRequest(get("/"), true); err != nil {
		t.Fatal(err)
	}
	s.await("HEADERS")
	return x
}

// outcome reads an answer to its end: its last status and body, or the failure.
func outcome(x *ClientStream) (status int, body string, err error) {
	for {
		res, err := x.ReadResponse()
		if err != nil {
			return status, "", err
		}
		if status = res.Status; status >= 200 {
			break
		}
	}
	b, err := io.ReadAll(x)
	return status, string(b), err
}
