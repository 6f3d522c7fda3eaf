package http2

import (
	"errors"
	"io"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

var extended = xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1}

func asking(protocol string) *message.Request {
	head := get("/chat")
	head.Upgrade = protocol
	return head
}

// upgrading begins an extended CONNECT.
func upgrading(t *testing.T, c *ClientConn, s *script) *ClientStream {
	t.Helper()
	x := c.NewExchange()
	if err := x.WriteRequest(asking("websocket"), true); err != nil {
		t.Fatal(err)
	}
	if got := s.await("HEADERS"); got != "HEADERS 1" {
		t.Errorf("got %q, want a stream that goes on", got)
	}
	return x
}

// TestUpgradeUpstream: an upgrade is an extended CONNECT, its 200 a 101, and its stream a connection.
func TestUpgradeUpstream(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, extended)
	x := upgrading(t, c, s)
	defer x.Close(false)
	s.head(1, false, ":status", "200", "x-a", "b")
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	protocol, _ := res.Header.Get("upgrade")
	want(t, "status", res.Status, 101)
	want(t, "protocol", protocol, "websocket")
	_, conn := x.Switched()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	want(t, "frame", s.await("DATA"), "DATA 1 5")
	_ = s.WriteData(1, false, []byte("world"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "world" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = s.WriteData(1, true, nil)
	if n, err := conn.Read(got); n != 0 || err != io.EOF {
		t.Errorf("got %d, %v, want the end", n, err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	want(t, "frame", s.await("DATA"), "DATA 1 0 end")
	want(t, "streams", c.Active(), 0)
}

// TestUpgradeUpstreamEnds: Close resets the stream, and the connection lives on.
func TestUpgradeUpstreamEnds(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, extended)
	x := upgrading(t, c, s)
	s.head(1, false, ":status", "200")
	if _, err := x.ReadResponse(); err != nil {
		t.Fatal(err)
	}
	_, conn := x.Switched()
	read := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	_ = conn.Close()
	if err := <-read; err == nil || err == io.EOF {
		t.Errorf("got %v, want a failure", err)
	}
	want(t, "frame", s.await("RST"), "RST 1 CANCEL")
	want(t, "over", c.Closed(), false)
}

// TestUpgradeUpstreamRefused: what is no agreement is an answer, or an error.
func TestUpgradeUpstreamRefused(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings []xhttp2.Setting
		protocol string
		fields   []string
		status   int
		kind     failure.Kind
	}{
		{"an answer", []xhttp2.Setting{extended}, "websocket", []string{":status", "404"}, 404, 0},
		{"with a length", []xhttp2.Setting{extended}, "websocket", []string{":status", "200", "content-length", "3"}, 0, failure.BadResponse},
		{"a 101", []xhttp2.Setting{extended}, "websocket", []string{":status", "101"}, 0, failure.BadResponse},
		{"not offered", nil, "websocket", nil, 0, failure.BadResponse},
		{"no token", []xhttp2.Setting{extended}, "web socket", nil, 0, failure.BadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := greeted(t, ClientOptions{}, test.settings...)
			x := c.NewExchange()
			defer x.Close(false)
			err := x.WriteRequest(asking(test.protocol), true)
			status := 0
			if err == nil {
				s.await("HEADERS")
				s.head(1, false, test.fields...)
				var res *message.Response
				if res, err = x.ReadResponse(); err == nil {
					status = res.Status
				}
			}
			want(t, "status", status, test.status)
			var why *failure.Error
			if (test.status == 0) != errors.As(err, &why) || why != nil && why.Kind != test.kind {
				t.Errorf("got %v, want kind %v", err, test.kind)
			}
		})
	}
}

// TestUpgradeUpstreamWaits: the upstream's SETTINGS say whether it can be asked, so they are waited for.
func TestUpgradeUpstreamWaits(t *testing.T) {
	c, s := scripted(t, ClientOptions{}, nil)
	x := c.NewExchange()
	defer x.Close(false)
	wrote := make(chan error, 1)
	go func() { wrote <- x.WriteRequest(asking("websocket"), true) }()
	s.await("WINDOW_UPDATE") // the client's greeting is over
	select {
	case err := <-wrote:
		t.Fatalf("got %v before SETTINGS", err)
	default:
	}
	_ = s.WriteSettings(extended)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	s.await("HEADERS 1")

	c, _ = scripted(t, ClientOptions{}, nil)
	y := c.NewExchange()
	go func() { wrote <- y.WriteRequest(asking("websocket"), true) }()
	y.Close(false)
	if err := <-wrote; err == nil {
		t.Error("got no error of an exchange that was closed")
	}
}
