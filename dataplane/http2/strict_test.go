package http2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// raw sends one request's fields as they are, and returns ":status", or "RST" with the code.
func raw(t *testing.T, opts ServerOptions, handle func(*ServerStream), fields [][2]string, data string) string {
	t.Helper()
	near, far := sockets(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeConn(far, opts, handle)
	}()
	defer func() { near.Close(); <-done }()
	_ = near.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(near, Preface)
	framer := xhttp2.NewFramer(near, near)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	rest := block.Bytes()
	for first := true; first || len(rest) > 0; first = false {
		piece := rest[:min(len(rest), 16<<10)]
		rest = rest[len(piece):]
		if first {
			_ = framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: piece, EndStream: data == "",
				EndHeaders: len(rest) == 0})
		} else {
			_ = framer.WriteContinuation(1, len(rest) == 0, piece)
		}
	}
	if data != "" {
		_ = framer.WriteData(1, true, []byte(data))
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := frame.(type) {
		case *xhttp2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *xhttp2.RSTStreamFrame:
			return "RST " + f.ErrCode.String()
		case *xhttp2.GoAwayFrame:
			return "GOAWAY " + f.ErrCode.String()
		}
	}
}

// TestStrict holds what RFC 9113, 8.1 to 8.3 calls malformed, whether x/net or we refuse it.
func TestStrict(t *testing.T) {
	good := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "shop.test"}, {":path", "/"}}
	with := func(name, value string) [][2]string {
		fields := append([][2]string{}, good...)
		for i, f := range fields {
			if f[0] == name {
				fields[i][1] = value
				return fields
			}
		}
		return append(fields, [2]string{name, value})
	}
	many := good
	for i := range 60 {
		many = append(many, [2]string{fmt.Sprintf("x-%d", i), "1"})
	}
	const reset = "RST PROTOCOL_ERROR"
	for _, test := range []struct {
		name   string
		fields [][2]string
		data   string
		want   string
	}{
		{"good", good, "", "200"},
		{"good host", with("host", "shop.test"), "", "200"},
		{"host for authority", [][2]string{good[0], good[1], good[3], {"host", "shop.test"}}, "", "200"},
		{"te trailers", with("te", "trailers"), "", "200"},
		{"length", with("content-length", "2"), "hi", "200"},
		{"path bytes", with(":path", "/?\xc3\xa9"), "", "400"},
		{"path with any escapes", with(":path", "/%zz?%"), "", "200"},
		{"star", with(":path", "*"), "", "400"},
		{"space in path", with(":path", "/a b"), "", "400"},
		{"fragment", with(":path", "/a#b"), "", "400"},
		{"relative path", with(":path", "a"), "", reset},
		{"empty path", with(":path", ""), "", reset},
		{"path with CR LF", with(":path", "/ HTTP/1.1\r\nx: y"), "", reset},
		{"space in method", with(":method", "GET / HTTP/1.1"), "", "400"},
		{"CONNECT", [][2]string{{":method", "CONNECT"}, good[2]}, "", "400"},
		{"no authority", [][2]string{good[0], good[1], good[3]}, "", "400"},
		{"authority unlike host", with("host", "other.test"), "", reset},
		{"two hosts", append(with("host", "shop.test"), [2]string{"host", "shop.test"}), "", reset},
		{"userinfo", with(":authority", "a@shop.test"), "", reset},
		{"other scheme", with(":scheme", "ftp"), "", reset},
		{"upper case", with("X-A", "1"), "", reset},
		{"colon in name", with("x:a", "1"), "", reset},
		{"space in name", with("x a", "1"), "", reset},
		{"unknown pseudo-field", append([][2]string{{":x", "1"}}, good...), "", reset},
		{"late pseudo-field", append(with("x", "1"), [2]string{":path", "/"}), "", reset},
		{"two paths", append([][2]string{{":path", "/"}}, good...), "", reset},
		{"CR", with("x", "a\rb"), "", reset},
		{"LF", with("x", "a\nb"), "", reset},
		{"NUL", with("x", "a\x00b"), "", reset},
		{"space before value", with("x", " a"), "", "400"},
		{"tab after value", with("x", "a\t"), "", "400"},
		{"connection", with("connection", "close"), "", reset},
		{"keep-alive", with("keep-alive", "5"), "", reset},
		{"proxy-connection", with("proxy-connection", "x"), "", reset},
		{"transfer-encoding", with("transfer-encoding", "chunked"), "", reset},
		{"upgrade", with("upgrade", "h2c"), "", reset},
		{"te gzip", with("te", "gzip"), "", reset},
		{"length and no data", with("content-length", "2"), "", "400"},
		{"length not a number", with("content-length", "+2"), "", "400"},
		{"two lengths", append(with("content-length", "2"), [2]string{"content-length", "3"}), "hi", "400"},
		{"less data", with("content-length", "3"), "hi", "400 bad body"},
		{"more data", with("content-length", "1"), "hi", reset},
		{"too many", many, "", "431"},
		{"too large", append(with("x", strings.Repeat("a", 5000)), [2]string{"y", strings.Repeat("a", 5000)}), "", "431"},
		{"one too large", with("x", strings.Repeat("a", 9000)), "", "431"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var refused []string
			opts := ServerOptions{MaxHeaderCount: 50, MaxHeaderBytes: 8 << 10,
				Refused: func(_ *message.Request, why *failure.Error) { refused = append(refused, why.Error()) }}
			got := raw(t, opts, func(s *ServerStream) {
				status := 200
				if _, err := io.ReadAll(s); err != nil {
					status = asFailure(t, err).Status()
				}
				if status == 0 {
					return
				}
				_ = s.Respond(&message.Response{Status: status}, true)
			}, test.fields, test.data)
			want(t, "answer", got, strings.TrimSuffix(test.want, " bad body"))
		})
	}
}
