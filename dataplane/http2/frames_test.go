package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// rawClient speaks in frames, right ones and wrong ones.
type rawClient struct {
	*xhttp2.Framer
	t     *testing.T
	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// dialRaw serves a connection, and has sent the preface and settings.
func dialRaw(t *testing.T, opts ServerOptions, handle func(*ServerStream), settings ...xhttp2.Setting) *rawClient {
	t.Helper()
	near, far := sockets(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeConn(far, opts, handle)
	}()
	t.Cleanup(func() { near.Close(); <-done })
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	r := &rawClient{Framer: xhttp2.NewFramer(near, near), t: t, conn: near}
	r.AllowIllegalWrites = true
	r.SetMaxReadFrameSize(defaultFrame)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.block)
	_, _ = io.WriteString(near, Preface)
	_ = r.WriteSettings(settings...)
	return r
}

var getRoot = []string{":method", "GET", ":scheme", "http", ":authority", "shop.test", ":path", "/"}

// request is a head for a path; more fields may follow.
func request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "shop.test", ":path", path}, more...)
}

func (r *rawClient) encode(fields ...string) []byte {
	r.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r.block.Bytes()
}

func (r *rawClient) headers(id uint32, end bool, fields ...string) {
	_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: r.encode(fields...), EndStream: end, EndHeaders: true})
}

// next is the next frame as text, those aside that a test has not asked for.
func (r *rawClient) next(kinds ...xhttp2.FrameType) string {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err == io.EOF || err != nil && strings.Contains(err.Error(), "reset by peer") {
			return "EOF"
		}
		if err != nil {
			return err.Error()
		}
		h := f.Header()
		if (h.Type == xhttp2.FrameSettings || h.Type == xhttp2.FrameWindowUpdate) && !slices.Contains(kinds, h.Type) {
			continue
		}
		end := ""
		if (h.Type == xhttp2.FrameHeaders || h.Type == xhttp2.FrameData) && h.Flags.Has(xhttp2.FlagDataEndStream) {
			end = " END"
		}
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			s := fmt.Sprintf("HEADERS %d", h.StreamID)
			for _, field := range f.Fields {
				s += " " + field.Name + "=" + short(field.Value)
			}
			return s + end
		case *xhttp2.DataFrame:
			return strings.TrimRight(fmt.Sprintf("DATA %d %s", h.StreamID, short(string(f.Data()))), " ") + end
		case *xhttp2.RSTStreamFrame:
			return fmt.Sprintf("RST %d %v", h.StreamID, f.ErrCode)
		case *xhttp2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
		case *xhttp2.PingFrame:
			return fmt.Sprintf("PING %q %v", strings.TrimRight(string(f.Data[:]), "\x00"), f.IsAck())
		case *xhttp2.SettingsFrame:
			return fmt.Sprintf("SETTINGS %v", f.IsAck())
		case *xhttp2.WindowUpdateFrame:
			return fmt.Sprintf("WINDOW_UPDATE %d %d", h.StreamID, f.Increment)
		}
		return h.String()
	}
}

// short stands for a string: itself, or its length.
func short(s string) string {
	if len(s) > 20 {
		return fmt.Sprintf("(%d)", len(s))
	}
	return s
}

func (r *rawClient) expect(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		if got := r.next(); got != line {
			r.t.Fatalf("got %s, want %s", got, line)
		}
	}
}

// serveTest answers by path.
func serveTest(s *ServerStream) {
	ok := &message.Response{Status: 200}
	switch path := s.Request().Path; path {
	case "/wait":
		<-s.Context().Done()
	case "/echo":
		body, err := io.ReadAll(s)
		if err != nil {
			return
		}
		_ = s.Respond(ok, false)
		_, _ = s.Write(body)
		_ = s.End(s.Request().Trailer)
	case "/big":
		_ = s.Respond(ok, false)
		_, _ = s.Write(make([]byte, 100<<10))
		_ = s.End(nil)
	case "/early":
		_ = s.Respond(&message.Response{Status: 413}, true)
	default:
		_ = s.Respond(ok, true)
	}
}

// TestFrames holds the rules of RFC 9113, 4 to 6 and 8: what a client does, and what it gets.
func TestFrames(t *testing.T) {
	trailers := []string{"x-sum", "7", "x-late", "8"}
	for _, test := range []struct {
		name   string
		script func(r *rawClient)
		want   string
	}{
		// 5.1: the states.
		{"DATA on an idle stream", func(r *rawClient) { _ = r.WriteData(1, true, []byte("x")) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"RST_STREAM on an idle stream", func(r *rawClient) { _ = r.WriteRSTStream(1, 0) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"WINDOW_UPDATE on an idle stream", func(r *rawClient) { _ = r.WriteWindowUpdate(1, 1) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"CONTINUATION on an idle stream", func(r *rawClient) { _ = r.WriteContinuation(1, true, nil) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"DATA after the end", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WriteData(1, true, []byte("x"))
		}, "RST 1 STREAM_CLOSED"},
		{"HEADERS after the end", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			r.headers(1, true, trailers...)
		}, "RST 1 STREAM_CLOSED"},
		{"DATA on a closed stream", func(r *rawClient) {
			r.headers(1, true, getRoot...)
			r.expect("HEADERS 1 :status=200 END")
			_ = r.WriteData(1, true, []byte("x"))
		}, "RST 1 STREAM_CLOSED"},
		{"HEADERS on a closed stream", func(r *rawClient) {
			r.headers(1, true, getRoot...)
			r.expect("HEADERS 1 :status=200 END")
			r.headers(1, true, getRoot...)
		}, "GOAWAY 1 STREAM_CLOSED|EOF"},
		{"WINDOW_UPDATE, RST_STREAM and PRIORITY on a closed stream", func(r *rawClient) {
			r.headers(1, true, getRoot...)
			r.expect("HEADERS 1 :status=200 END")
			_ = r.WriteWindowUpdate(1, 1)
			_ = r.WriteRSTStream(1, 0)
			_ = r.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3})
			r.headers(3, true, getRoot...)
		}, "HEADERS 3 :status=200 END"},
		{"DATA and trailers after our reset", func(r *rawClient) {
			r.headers(1, false, request("POST", "/", "x", " a")...)
			r.expect("HEADERS 1 :status=400 content-length=0 END", "RST 1 NO_ERROR")
			_ = r.WriteData(1, false, []byte("x"))
			r.headers(1, true, trailers...)
			r.headers(3, true, getRoot...)
		}, "HEADERS 3 :status=200 END"},
		{"HEADERS on an even stream", func(r *rawClient) { r.headers(2, true, getRoot...) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"HEADERS on stream 0", func(r *rawClient) { r.headers(0, true, getRoot...) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"HEADERS on an earlier stream", func(r *rawClient) {
			r.headers(5, true, request("GET", "/wait")...)
			r.headers(3, true, getRoot...)
		}, "GOAWAY 5 STREAM_CLOSED|EOF"},
		{"reset by the client", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WriteRSTStream(1, xhttp2.ErrCodeCancel)
			r.headers(3, true, getRoot...)
		}, "HEADERS 3 :status=200 END"},

		// 4.2, 6: sizes and places of frames.
		{"frame too large", func(r *rawClient) { _ = r.WriteRawFrame(xhttp2.FrameData, 0, 1, make([]byte, 16<<10+1)) },
			"GOAWAY 0 FRAME_SIZE_ERROR|EOF"},
		{"DATA on stream 0", func(r *rawClient) { _ = r.WriteData(0, true, []byte("x")) }, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"DATA with too much padding", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo")...)
			_ = r.WriteRawFrame(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, []byte{5, 'a'})
		}, "GOAWAY 1 PROTOCOL_ERROR|EOF"},
		{"HEADERS with too much padding", func(r *rawClient) {
			_ = r.WriteRawFrame(xhttp2.FrameHeaders, xhttp2.FlagHeadersPadded|xhttp2.FlagHeadersEndHeaders, 1, []byte{5, 'a'})
		}, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"padding", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: r.encode(request("POST", "/echo")...),
				EndHeaders: true, PadLength: 9, Priority: xhttp2.PriorityParam{StreamDep: 3, Weight: 7}})
			_ = r.WriteDataPadded(1, false, []byte("hi"), make([]byte, 200))
			_ = r.WriteDataPadded(1, true, []byte(" you"), []byte{})
		}, "HEADERS 1 :status=200|DATA 1 hi you END"},
		{"CONTINUATION", func(r *rawClient) {
			block := slices.Clone(r.encode(getRoot...))
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3], EndStream: true})
			_ = r.WriteContinuation(1, false, block[3:5])
			_ = r.WriteContinuation(1, true, block[5:])
		}, "HEADERS 1 :status=200 END"},
		{"a frame amid a field section", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			_ = r.WritePing(false, [8]byte{})
		}, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"CONTINUATION of another stream", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			_ = r.WriteContinuation(3, true, []byte{0x84})
		}, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"a section that is no HPACK", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0x01}, EndHeaders: true})
		}, "GOAWAY 0 COMPRESSION_ERROR|EOF"},
		{"a section that is cut", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x40, 0x05, 'a'}, EndHeaders: true})
		}, "GOAWAY 0 COMPRESSION_ERROR|EOF"},
		{"PRIORITY", func(r *rawClient) {
			_ = r.WritePriority(9, xhttp2.PriorityParam{StreamDep: 3})
			r.headers(1, true, getRoot...)
		}, "HEADERS 1 :status=200 END"},
		{"PRIORITY of itself", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WritePriority(1, xhttp2.PriorityParam{StreamDep: 1})
		}, "RST 1 PROTOCOL_ERROR"},
		{"PUSH_PROMISE", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: []byte{0x82}, EndHeaders: true})
		}, "GOAWAY 1 PROTOCOL_ERROR|EOF"},
		{"an unknown frame", func(r *rawClient) {
			_ = r.WriteRawFrame(0x99, 0xff, 77, []byte("what"))
			r.headers(1, true, getRoot...)
		}, "HEADERS 1 :status=200 END"},
		{"PING", func(r *rawClient) { _ = r.WritePing(false, [8]byte{'h', 'i'}) }, `PING "hi" true`},
		{"PING of a wrong size", func(r *rawClient) { _ = r.WriteRawFrame(xhttp2.FramePing, 0, 0, []byte("hi")) },
			"GOAWAY 0 FRAME_SIZE_ERROR|EOF"},
		{"a client's GOAWAY", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo")...)
			_ = r.WriteGoAway(0, xhttp2.ErrCodeNo, nil)
			_ = r.WriteData(1, true, []byte("hi"))
		}, "HEADERS 1 :status=200|DATA 1 hi END"},

		// 6.5: SETTINGS.
		{"SETTINGS of a wrong size", func(r *rawClient) { _ = r.WriteRawFrame(xhttp2.FrameSettings, 0, 0, []byte("hi")) },
			"GOAWAY 0 FRAME_SIZE_ERROR|EOF"},
		{"SETTINGS of a stream", func(r *rawClient) { _ = r.WriteRawFrame(xhttp2.FrameSettings, 0, 1, nil) },
			"GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"ENABLE_PUSH of 2", func(r *rawClient) { _ = r.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2}) },
			"GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"INITIAL_WINDOW_SIZE too large", func(r *rawClient) {
			_ = r.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 31})
		}, "GOAWAY 0 FLOW_CONTROL_ERROR|EOF"},
		{"MAX_FRAME_SIZE too small", func(r *rawClient) {
			_ = r.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 100})
		}, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"an unknown setting", func(r *rawClient) {
			_ = r.WriteSettings(xhttp2.Setting{ID: 0x99, Val: 1 << 31})
			r.headers(1, true, getRoot...)
		}, "HEADERS 1 :status=200 END"},

		// 6.9: windows.
		{"WINDOW_UPDATE of 0", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WriteRawFrame(xhttp2.FrameWindowUpdate, 0, 1, make([]byte, 4))
		}, "RST 1 PROTOCOL_ERROR"},
		{"WINDOW_UPDATE of 0 for the connection", func(r *rawClient) {
			_ = r.WriteRawFrame(xhttp2.FrameWindowUpdate, 0, 0, make([]byte, 4))
		}, "GOAWAY 0 PROTOCOL_ERROR|EOF"},
		{"a stream's window too large", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WriteWindowUpdate(1, maxWindow)
		}, "RST 1 FLOW_CONTROL_ERROR"},
		{"the connection's window too large", func(r *rawClient) { _ = r.WriteWindowUpdate(0, maxWindow) },
			"GOAWAY 0 FLOW_CONTROL_ERROR|EOF"},
		{"a stream's window too large by SETTINGS", func(r *rawClient) {
			r.headers(1, true, request("GET", "/wait")...)
			_ = r.WriteWindowUpdate(1, maxWindow-initialWindow)
			_ = r.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: initialWindow + 1})
		}, "GOAWAY 1 FLOW_CONTROL_ERROR|EOF"},

		// 8.1: messages.
		{"a body and trailers, announced or not", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo")...)
			_ = r.WriteData(1, false, []byte("hi"))
			r.headers(1, true, trailers...)
		}, "HEADERS 1 :status=200|DATA 1 hi|HEADERS 1 x-sum=7 x-late=8 END"},
		{"trailers that frame a message", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo")...)
			r.headers(1, true, "content-length", "7", "host", "other.test", "x", "1")
		}, "HEADERS 1 :status=200|HEADERS 1 x=1 END"},
		{"trailers without end", func(r *rawClient) {
			r.headers(1, false, request("POST", "/wait")...)
			r.headers(1, false, trailers...)
		}, "RST 1 PROTOCOL_ERROR"},
		{"a pseudo-field in trailers", func(r *rawClient) {
			r.headers(1, false, request("POST", "/wait")...)
			r.headers(1, true, ":path", "/")
		}, "RST 1 PROTOCOL_ERROR"},
		{"upper case in trailers", func(r *rawClient) {
			r.headers(1, false, request("POST", "/wait")...)
			r.headers(1, true, "X-Sum", "7")
		}, "RST 1 PROTOCOL_ERROR"},
		{"transfer-encoding in trailers", func(r *rawClient) {
			r.headers(1, false, request("POST", "/wait")...)
			r.headers(1, true, "transfer-encoding", "chunked")
		}, "RST 1 PROTOCOL_ERROR"},
		{"less DATA than content-length, and trailers", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo", "content-length", "3")...)
			_ = r.WriteData(1, false, []byte("hi"))
			r.headers(1, true, trailers...)
		}, "RST 1 INTERNAL_ERROR"},
		{"more DATA than content-length", func(r *rawClient) {
			r.headers(1, false, request("POST", "/wait", "content-length", "1")...)
			_ = r.WriteData(1, true, []byte("hi"))
		}, "RST 1 PROTOCOL_ERROR"},
		{"an early answer", func(r *rawClient) { r.headers(1, false, request("POST", "/early")...) },
			"HEADERS 1 :status=413 END|RST 1 NO_ERROR"},
		{"100-continue", func(r *rawClient) {
			r.headers(1, false, request("POST", "/echo", "expect", "100-continue")...)
			r.expect("HEADERS 1 :status=100")
			_ = r.WriteData(1, true, []byte("hi"))
		}, "HEADERS 1 :status=200|DATA 1 hi END"},
		{"100-continue, not wanted", func(r *rawClient) {
			r.headers(1, false, request("POST", "/early", "expect", "100-continue")...)
		}, "HEADERS 1 :status=413 END|RST 1 NO_ERROR"},
		{"extended CONNECT", func(r *rawClient) {
			r.headers(1, false, append([]string{":protocol", "websocket"}, request("CONNECT", "/")...)...)
		}, "RST 1 PROTOCOL_ERROR"},
		{"too many streams", func(r *rawClient) {
			for id := uint32(1); id <= 9; id += 2 {
				r.headers(id, true, getRoot...)
				r.expect(fmt.Sprintf("HEADERS %d :status=200 END", id))
			}
			for id := uint32(11); id <= 17; id += 2 {
				r.headers(id, true, request("GET", "/wait")...)
			}
		}, "RST 17 REFUSED_STREAM"},
		{"handlers that run count", func(r *rawClient) {
			// Their handlers are woken, but have not returned before the last one comes, or have: both are right.
			for id := uint32(1); id <= 5; id += 2 {
				r.headers(id, true, request("GET", "/wait")...)
			}
			r.headers(7, true, request("GET", "/wait")...)
			r.expect("RST 7 REFUSED_STREAM")
			_ = r.WriteRSTStream(1, xhttp2.ErrCodeCancel)
			_ = r.WriteRSTStream(3, xhttp2.ErrCodeCancel)
			_ = r.WritePing(false, [8]byte{})
		}, `PING "" true`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := dialRaw(t, ServerOptions{MaxConcurrentStreams: 3}, serveTest)
			test.script(r)
			r.expect(strings.Split(test.want, "|")...)
		})
	}
}

// TestPreface: nothing is served before it.
func TestPreface(t *testing.T) {
	for name, say := range map[string]func(c net.Conn){
		"HTTP/1":        func(c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n") },
		"not SETTINGS":  func(c net.Conn) { _, _ = io.WriteString(c, Preface+"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678") },
		"SETTINGS' ACK": func(c net.Conn) { _, _ = io.WriteString(c, Preface+"\x00\x00\x00\x04\x01\x00\x00\x00\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := sockets(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				ServeConn(far, ServerOptions{}, serveTest)
			}()
			defer func() { near.Close(); <-done }()
			say(near)
			_ = near.SetDeadline(time.Now().Add(10 * time.Second))
			r := &rawClient{Framer: xhttp2.NewFramer(near, near), t: t, conn: near}
			r.expect("GOAWAY 0 PROTOCOL_ERROR", "EOF")
		})
	}
}

// TestWholeIsClosed: a stream is closed once both sides have ended it, not only when its handler returns. The client may
// open another, however few are allowed.
func TestWholeIsClosed(t *testing.T) {
	release := make(chan struct{})
	r := dialRaw(t, ServerOptions{MaxConcurrentStreams: 1}, func(s *ServerStream) {
		_ = s.Respond(&message.Response{Status: 200}, true)
		_ = s.Flush()
		<-s.Context().Done()
		<-release
	})
	r.headers(1, true, getRoot...)
	r.expect("HEADERS 1 :status=200 END")
	r.headers(3, false, request("POST", "/")...)
	r.expect("HEADERS 3 :status=200 END")
	_ = r.WriteData(3, true, nil)
	r.headers(5, true, getRoot...)
	r.expect("HEADERS 5 :status=200 END")
	r.headers(5, true, getRoot...)
	r.expect("GOAWAY 5 STREAM_CLOSED")
	close(release)
	r.expect("EOF")
}
