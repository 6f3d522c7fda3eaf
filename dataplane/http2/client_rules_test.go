package http2

import (
	"io"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestBadAnswers: an answer that breaks the protocol is this stream's failure, and the connection's other streams do not
// notice.
func TestBadAnswers(t *testing.T) {
	const protocol = "RST 1 PROTOCOL_ERROR"
	head := func(fields ...string) func(*script) {
		return func(s *script) { s.head(1, true, fields...) }
	}
	ok := []string{":status", "200"}
	with := func(fields ...string) func(*script) { return head(append(ok, fields...)...) }
	body := func(length string, data string) func(*script) {
		return func(s *script) {
			s.head(1, false, ":status", "200", "content-length", length)
			_ = s.WriteData(1, true, []byte(data))
		}
	}
	for _, test := range []struct {
		name   string
		method string
		answer func(*script)
		told   string
	}{
		{"no status", "", head("x", "y"), protocol},
		{"status of letters", "", head(":status", "2xx"), protocol},
		{"status 99", "", head(":status", "99"), protocol},
		{"status 1000", "", head(":status", "1000"), protocol},
		{"status +20", "", head(":status", "+20"), protocol},
		{"two statuses", "", with(":status", "200"), protocol},
		{"status after fields", "", head("x", "y", ":status", "200"), protocol},
		{"request's pseudo-field", "", with(":path", "/"), protocol},
		{"unknown pseudo-field", "", with(":x", "y"), protocol},
		{"upper case", "", with("X-A", "y"), protocol},
		{"empty name", "", with("", "y"), protocol},
		{"space in a name", "", with("x a", "y"), protocol},
		{"colon in a name", "", with("x:a", "y"), protocol},
		{"CR", "", with("x", "a\rb"), protocol},
		{"LF", "", with("x", "a\nb"), protocol},
		{"NUL", "", with("x", "a\x00b"), protocol},
		{"space before a value", "", with("x", " a"), protocol},
		{"connection", "", with("connection", "close"), protocol},
		{"keep-alive", "", with("keep-alive", "5"), protocol},
		{"proxy-connection", "", with("proxy-connection", "close"), protocol},
		{"transfer-encoding", "", with("transfer-encoding", "chunked"), protocol},
		{"upgrade", "", with("upgrade", "h2c"), protocol},
		{"length not a number", "", with("content-length", "0x5"), protocol},
		{"length signed", "", with("content-length", "+0"), protocol},
		{"length too large", "", with("content-length", "99999999999999999999"), protocol},
		{"two lengths", "", with("content-length", "0", "content-length", "1"), protocol},
		{"length and no body", "", with("content-length", "5"), protocol},
		{"204 with a length", "", head(":status", "204", "content-length", "5"), protocol},
		{"status 101", "", func(s *script) { s.head(1, false, ":status", "101") }, protocol},
		{"103 ends the stream", "", head(":status", "103"), protocol},
		{"17 early answers", "", func(s *script) {
			for range maxEarly + 1 {
				s.head(1, false, ":status", "103")
			}
		}, protocol},
		{"DATA first", "", func(s *script) { _ = s.WriteData(1, true, []byte("x")) }, protocol},
		{"empty DATA first", "", func(s *script) { _ = s.WriteData(1, true, nil) }, protocol},
		{"DATA after an early answer", "", func(s *script) {
			s.head(1, false, ":status", "103")
			_ = s.WriteData(1, true, []byte("x"))
		}, protocol},
		{"body shorter", "", body("3", "hi"), protocol},
		{"body longer", "", body("1", "hi"), protocol},
		{"body of HEAD", "HEAD", body("2", "hi"), protocol},
		{"body of 204", "", func(s *script) {
			s.head(1, false, ":status", "204")
			_ = s.WriteData(1, true, []byte("hi"))
		}, protocol},
		{"body of 304", "", func(s *script) {
			s.head(1, false, ":status", "304", "content-length", "2")
			_ = s.WriteData(1, true, []byte("hi"))
		}, protocol},
		{"trailers that do not end", "", func(s *script) {
			s.head(1, false, ok...)
			s.head(1, false, "x", "y")
		}, protocol},
		{"status in trailers", "", func(s *script) {
			s.head(1, false, ok...)
			s.head(1, true, ":status", "200")
		}, protocol},
		{"LF in trailers", "", func(s *script) {
			s.head(1, false, ok...)
			s.head(1, true, "x", "a\nb")
		}, protocol},
		{"connection in trailers", "", func(s *script) {
			s.head(1, false, ok...)
			s.head(1, true, "connection", "x")
		}, protocol},
		{"body shorter, with trailers", "", func(s *script) {
			s.head(1, false, ":status", "200", "content-length", "2")
			s.head(1, true, "x", "y")
		}, protocol},
		// An indexed field takes one byte here, and 4 KiB there.
		{"HPACK bomb", "", func(s *script) {
			block := s.section(":status", "200", "x", strings.Repeat("a", 3900))
			for range 1000 {
				block = append(block, 0x80|62)
			}
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		}, protocol},
		{"fields too large", "", func(s *script) {
			block := s.section(":status", "200", "x", strings.Repeat("\x7e", 70<<10))
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]})
			for rest := block[16<<10:]; len(rest) > 0; {
				n := min(len(rest), 16<<10)
				_ = s.WriteContinuation(1, n == len(rest), rest[:n])
				rest = rest[n:]
			}
		}, protocol},
		{"WINDOW_UPDATE of 0", "", func(s *script) { _ = s.WriteWindowUpdate(1, 0) }, protocol},
		{"window too large", "", func(s *script) { _ = s.WriteWindowUpdate(1, maxWindow) }, "RST 1 FLOW_CONTROL_ERROR"},
		{"DATA beyond the window", "", func(s *script) {
			s.head(1, false, ok...)
			for range 5 {
				_ = s.WriteData(1, false, make([]byte, 16<<10))
			}
		}, "RST 1 FLOW_CONTROL_ERROR"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := greeted(t, ClientOptions{StreamWindow: 1})
			x := c.NewExchange()
			req := get("/")
			if test.method != "" {
				req.Method = test.method
			}
			if err := x.WriteRequest(req, test.name != "WINDOW_UPDATE of 0" && test.name != "window too large"); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
			s.await("HEADERS")
			other := exchanged(t, c, s)
			test.answer(s)
			s.await(test.told)
			// Who had the head before sees that there is no body, and never the one that came.
			_, data, err := outcome(x)
			if x.bodiless {
				want(t, "body", data, "")
			} else if f := asFailure(t, err); f.Kind != failure.BadResponse || f.Retryable {
				t.Errorf("got %v (retryable %v)", f, f.Retryable)
			}
			x.Close(false)
			s.head(3, true, ":status", "204", "x", "y")
			status, _, err := outcome(other)
			if status != 204 || err != nil {
				t.Errorf("the other stream: %d, %v", status, err)
			}
			other.Close(true)
		})
	}
}

// TestBadUpstreams: what is the connection's error ends it, with GOAWAY and a reason.
func TestBadUpstreams(t *testing.T) {
	frame := func(kind xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload ...byte) func(*script) {
		return func(s *script) { _ = s.WriteRawFrame(kind, flags, id, payload) }
	}
	setting := func(id xhttp2.SettingID, value uint32) func(*script) {
		return func(s *script) { _ = s.WriteSettings(xhttp2.Setting{ID: id, Val: value}) }
	}
	flood := func(n int, once func(*script)) func(*script) {
		return func(s *script) {
			for range n {
				once(s)
			}
		}
	}
	const protocol, flow, size, calm = "GOAWAY PROTOCOL_ERROR", "GOAWAY FLOW_CONTROL_ERROR", "GOAWAY FRAME_SIZE_ERROR",
		"GOAWAY ENHANCE_YOUR_CALM"
	for _, test := range []struct {
		name   string
		answer func(*script)
		told   string
	}{
		{"push allowed", setting(xhttp2.SettingEnablePush, 1), protocol},
		{"frames too small", setting(xhttp2.SettingMaxFrameSize, 100), protocol},
		{"window setting too large", setting(xhttp2.SettingInitialWindowSize, 1<<31), flow},
		{"SETTINGS on a stream", frame(xhttp2.FrameSettings, 0, 1), protocol},
		{"SETTINGS cut", frame(xhttp2.FrameSettings, 0, 0, 1), size},
		{"SETTINGS ack with entries", frame(xhttp2.FrameSettings, xhttp2.FlagSettingsAck, 0, 0, 1, 0, 0, 0, 0), size},
		{"PUSH_PROMISE", func(s *script) {
			_ = s.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: s.section(":path", "/"), EndHeaders: true})
		}, protocol},
		{"DATA on an idle stream", frame(xhttp2.FrameData, 0, 3, 1), protocol},
		{"HEADERS on an idle stream", func(s *script) { s.head(3, true, ":status", "200") }, protocol},
		{"HEADERS on a stream of ours", func(s *script) { s.head(2, true, ":status", "200") }, protocol},
		{"RST on an idle stream", frame(xhttp2.FrameRSTStream, 0, 3, 0, 0, 0, 1), protocol},
		{"WINDOW_UPDATE on an idle stream", func(s *script) { _ = s.WriteWindowUpdate(3, 1) }, protocol},
		{"DATA on stream 0", frame(xhttp2.FrameData, 0, 0, 1), protocol},
		{"HEADERS on stream 0", func(s *script) { s.head(0, true, ":status", "200") }, protocol},
		{"RST on stream 0", frame(xhttp2.FrameRSTStream, 0, 0, 0, 0, 0, 1), protocol},
		{"CONTINUATION alone", frame(xhttp2.FrameContinuation, xhttp2.FlagContinuationEndHeaders, 1), protocol},
		{"a frame within a section", func(s *script) {
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: s.section(":status", "200")})
			_ = s.WritePing(false, [8]byte{})
		}, protocol},
		{"another stream's CONTINUATION", func(s *script) {
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: s.section(":status", "200")})
			_ = s.WriteContinuation(3, true, nil)
		}, protocol},
		{"HPACK index out of the table", frame(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, 1, 0xff, 0xff, 0x03), "GOAWAY COMPRESSION_ERROR"},
		{"HPACK cut", frame(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, 1, 0x40, 0x05, 'x'), "GOAWAY COMPRESSION_ERROR"},
		{"HPACK table too large", frame(xhttp2.FrameHeaders, xhttp2.FlagHeadersEndHeaders, 1, 0x3f, 0xff, 0xff, 0x03), "GOAWAY COMPRESSION_ERROR"},
		{"frame too large", frame(xhttp2.FrameData, 0, 1, make([]byte, 17<<10)...), size},
		{"padding longer than DATA", frame(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, 5, 0), protocol},
		{"DATA without its padding's length", frame(xhttp2.FrameData, xhttp2.FlagDataPadded, 1), size},
		{"padding longer than HEADERS", frame(xhttp2.FrameHeaders, xhttp2.FlagHeadersPadded|xhttp2.FlagHeadersEndHeaders, 1, 5, 0), protocol},
		{"PING cut", frame(xhttp2.FramePing, 0, 0, 1), size},
		{"PING on a stream", frame(xhttp2.FramePing, 0, 1, make([]byte, 8)...), protocol},
		{"WINDOW_UPDATE of 0", func(s *script) { _ = s.WriteWindowUpdate(0, 0) }, protocol},
		{"WINDOW_UPDATE cut", frame(xhttp2.FrameWindowUpdate, 0, 0, 1), size},
		{"window too large", func(s *script) { _ = s.WriteWindowUpdate(0, maxWindow) }, flow},
		{"a setting that makes a window too large", func(s *script) {
			_ = s.WriteWindowUpdate(1, maxWindow-initialWindow)
			setting(xhttp2.SettingInitialWindowSize, initialWindow+1)(s)
		}, flow},
		{"GOAWAY on a stream", frame(xhttp2.FrameGoAway, 0, 1, make([]byte, 8)...), protocol},
		{"GOAWAY cut", frame(xhttp2.FrameGoAway, 0, 0, 1), size},
		{"DATA beyond the connection's window", func(s *script) { _ = s.WriteData(1, false, make([]byte, 100)) }, flow},
		{"CONTINUATION flood", func(s *script) {
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: s.section(":status", "200")})
			flood(1000, func(s *script) { _ = s.WriteContinuation(1, false, nil) })(s)
		}, calm},
		{"section without end", func(s *script) {
			_ = s.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: s.section(":status", "200")})
			flood(20, func(s *script) { _ = s.WriteContinuation(1, false, s.section("x", strings.Repeat("\x7e", 3000))) })(s)
			flood(20, func(s *script) { _ = s.WriteContinuation(1, false, s.section("x", strings.Repeat("\x7e", 15000))) })(s)
		}, calm},
		{"PING flood", flood(10*patienceLimit, func(s *script) { _ = s.WritePing(false, [8]byte{}) }), calm},
		{"SETTINGS flood", flood(patienceLimit, func(s *script) { _ = s.WriteSettings() }), calm},
		{"SETTINGS with many entries", func(s *script) { _ = s.WriteSettings(make([]xhttp2.Setting, 1000)...) }, calm},
		{"PRIORITY flood", flood(10*patienceLimit, func(s *script) { _ = s.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3}) }), calm},
		{"flood of the unknown", flood(10*patienceLimit, frame(0x42, 0, 1)), calm},
		{"WINDOW_UPDATE flood", flood(10*patienceLimit, func(s *script) { _ = s.WriteWindowUpdate(1, 1) }), calm},
		{"empty DATA flood", func(s *script) {
			s.head(1, false, ":status", "200")
			flood(patienceLimit, frame(xhttp2.FrameData, 0, 1))(s)
		}, calm},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := greeted(t, ClientOptions{})
			if test.name == "DATA beyond the connection's window" {
				c.lock()
				c.received = newReceiveWindow(99)
				c.unlock()
			}
			x := exchanged(t, c, s)
			test.answer(s)
			s.await(test.told)
			_, _, err := outcome(x)
			if f := asFailure(t, err); f.Kind != failure.BadResponse || f.Retryable {
				t.Errorf("got %v (retryable %v)", f, f.Retryable)
			}
			x.Close(false)
			<-c.done
			if c.NewExchange() != nil {
				t.Error("an exchange on a broken connection")
			}
		})
	}
}

// TestOverBeforeItIsFlushed: an upstream that breaks the protocol while a request is still being gathered: the request is told
// why, and not that the connection was closed.
func TestOverBeforeItIsFlushed(t *testing.T) {
	near, far := sockets(t)
	defer far.Close()
	c, err := NewClientConn(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x := c.NewExchange()
	defer x.Close(false)
	if err := x.WriteRequest(&message.Request{Method: "POST", Scheme: "http", Authority: "a.test", Path: "/", ContentLength: 2}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, far); err != nil { // until the socket is closed, or half of it
		t.Log(err)
	}
	far.Close()
	c.lock()
	for c.out.err == nil {
		c.out.room.Wait()
	}
	c.unlock()
	if f := asFailure(t, x.Flush()); f.Kind != failure.BadResponse || !strings.Contains(f.Error(), "HTTP/1, want HTTP/2") {
		t.Errorf("got %v (%v), want what the upstream did", f, f.Kind)
	}
}

// TestNotHTTP2: an upstream that does not begin as HTTP/2 does.
func TestNotHTTP2(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
		kind             failure.Kind
	}{
		{"HTTP/1", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP/1, want HTTP/2", failure.BadResponse},
		{"HTTP/1, cut", "HTTP/1.", "HTTP/1, want HTTP/2", failure.BadResponse},
		{"another protocol", "SSH-2.0-OpenSSH_9.6\r\n", "first frame is not SETTINGS", failure.BadResponse},
		{"another frame", "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", "first frame is not SETTINGS", failure.BadResponse},
		{"SETTINGS ack", "\x00\x00\x00\x04\x01\x00\x00\x00\x00", "first frame is not SETTINGS", failure.BadResponse},
		{"nothing", "", "EOF", failure.Reset},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := scripted(t, ClientOptions{}, nil)
			x := exchanged(t, c, s)
			_, _ = s.conn.Write([]byte(test.text))
			_ = s.conn.(interface{ CloseWrite() error }).CloseWrite()
			_, _, err := outcome(x)
			f := asFailure(t, err)
			if f.Kind != test.kind || !strings.Contains(f.Error(), test.want) {
				t.Errorf("got %v", f)
			}
			x.Close(false)
			// An exchange that was begun before tells the same.
			want(t, "kind", asFailure(t, c.Err()).Kind, test.kind)
		})
	}
}
