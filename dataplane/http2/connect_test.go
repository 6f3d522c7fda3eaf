package http2

import (
	"io"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestExtendedConnect holds RFC 8441, 4: what an extended CONNECT must have, and what becomes of it.
func TestExtendedConnect(t *testing.T) {
	good := [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "shop.test"}, {":path", "/chat"}}
	with := func(at int, value string) [][2]string {
		fields := append([][2]string{}, good...)
		fields[at][1] = value
		return fields
	}
	without := func(at int) [][2]string { return append(append([][2]string{}, good[:at]...), good[at+1:]...) }
	const reset = "RST PROTOCOL_ERROR"
	for _, test := range []struct {
		name   string
		fields [][2]string
		off    bool
		want   string
	}{
		{"good", good, false, "200"},
		{"not offered", good, true, reset},
		{"GET", with(0, "GET"), false, reset},
		{"no protocol", without(1), false, "400"},
		{"empty protocol", with(1, ""), false, "400"},
		{"protocol is no token", with(1, "a b"), false, "400"},
		{"two protocols", append([][2]string{{":protocol", "websocket"}}, good...), false, reset},
		{"no scheme", without(2), false, reset},
		{"no authority", without(3), false, "400"},
		{"no path", without(4), false, reset},
		{"path is *", with(4, "*"), false, "400"},
		{"length", append(append([][2]string{}, good...), [2]string{"content-length", "0"}), false, "400"},
		{"upgrade", append(append([][2]string{}, good...), [2]string{"upgrade", "websocket"}), false, reset},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := raw(t, ServerOptions{ExtendedConnect: !test.off}, func(s *ServerStream) {
				r := s.Request()
				if r.Method != "GET" || r.Upgrade != "websocket" || r.ContentLength != 0 || r.Path != "/chat" {
					t.Errorf("got %+v", r)
				}
				_, conn, err := s.Switch(&message.Response{Status: 101, Header: message.Header{{Name: "upgrade", Value: "websocket"}}})
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(conn, conn)
				_ = s.End(nil)
			}, test.fields, "hello")
			want(t, "answer", got, test.want)
		})
	}
}
