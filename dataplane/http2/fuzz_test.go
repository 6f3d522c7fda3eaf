package http2

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// recorded is a connection on which bytes come, and nobody listens.
type recorded struct {
	net.Conn
	in io.Reader
}

func (c *recorded) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (c *recorded) Close() error                     { return nil }
func (c *recorded) SetDeadline(time.Time) error      { return nil }
func (c *recorded) SetReadDeadline(time.Time) error  { return nil }
func (c *recorded) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer: whatever frames come, a connection ends, with its handlers, and none of them sees what is no request.
func FuzzServer(f *testing.F) {
	frames := func(write func(w *xhttp2.Framer)) []byte {
		var b bytes.Buffer
		w := xhttp2.NewFramer(&b, nil)
		w.AllowIllegalWrites = true
		_ = w.WriteSettings()
		write(w)
		return b.Bytes()
	}
	headers := func(w *xhttp2.Framer, id uint32, end bool, fields ...string) {
		_ = w.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: block(fields...), EndStream: end, EndHeaders: true})
	}
	f.Add(frames(func(w *xhttp2.Framer) {
		headers(w, 1, true, getRoot...)
		headers(w, 3, false, request("POST", "/echo", "content-length", "2")...)
		_ = w.WriteData(3, false, []byte("hi"))
		headers(w, 3, true, "x", "y")
		_ = w.WriteRSTStream(1, 0)
	}))
	f.Add(frames(func(w *xhttp2.Framer) {
		headers(w, 1, false, request("POST", "/wait")...)
		_ = w.WriteDataPadded(1, true, []byte("hi"), make([]byte, 9))
		_ = w.WriteWindowUpdate(1, 9)
		_ = w.WriteSettings(initialWindowSize(0), xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: 0})
		_ = w.WritePing(false, [8]byte{})
		headers(w, 3, true, request("GET", "/big")...)
		_ = w.WriteGoAway(0, 0, nil)
	}))
	f.Add(frames(func(w *xhttp2.Framer) {
		headers(w, 1, false, append([]string{":protocol", "websocket"}, request("CONNECT", "/")...)...)
		_ = w.WriteData(1, true, []byte("hi"))
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		ServeConn(&recorded{in: io.MultiReader(bytes.NewReader([]byte(Preface)), bytes.NewReader(data))},
			ServerOptions{ExtendedConnect: true, MaxHeaderCount: 20, MaxConcurrentStreams: 5, InitialStreamWindow: 100}, func(s *ServerStream) {
				checkFields(t, s.Request().Header)
				body, err := io.ReadAll(s)
				if err != nil {
					return
				}
				checkFields(t, s.Request().Trailer)
				if n := s.Request().ContentLength; n > 0 && int64(len(body)) != n {
					t.Errorf("%d bytes, content-length %d", len(body), n)
				}
				if s.Request().Upgrade != "" {
					if _, conn, err := s.Switch(&message.Response{Status: 101}); err == nil {
						_, _ = conn.Write(body)
						_ = s.End(nil)
					}
					return
				}
				_ = s.Respond(&message.Response{Status: 200}, false)
				_, _ = s.Write(body)
				_ = s.End(s.Request().Trailer)
			})
	})
}
