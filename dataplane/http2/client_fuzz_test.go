package http2

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tape is a connection whose other side has said all of it in advance, and hears nothing.
type tape struct {
	net.Conn
	began chan struct{}
	said  *bytes.Reader
}

func (c *tape) Read(p []byte) (int, error) {
	<-c.began
	return c.said.Read(p)
}
func (c *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (c *tape) Close() error                     { return nil }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzUpstream: whatever an upstream says, each exchange ends, and what is passed on is a message.
func FuzzUpstream(f *testing.F) {
	var out, block bytes.Buffer
	framer := xhttp2.NewFramer(&out, nil)
	encoder := hpack.NewEncoder(&block)
	section := func(fields ...string) []byte {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return block.Bytes()
	}
	head := func(id uint32, end bool, fields ...string) {
		_ = framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: section(fields...), EndHeaders: true, EndStream: end})
	}
	for _, say := range []func(){
		func() {
			head(1, false, ":status", "103", "link", "x")
			head(1, false, ":status", "200", "content-length", "5", "x-a", "b")
			_ = framer.WriteDataPadded(1, false, []byte("he"), []byte{0, 0})
			head(3, true, ":status", "204")
			_ = framer.WriteData(1, false, []byte("llo"))
			head(1, true, "grpc-status", "0")
		},
		func() {
			_ = framer.WritePing(false, [8]byte{1})
			_ = framer.WriteWindowUpdate(0, 10)
			_ = framer.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream)
			head(3, false, ":status", "200")
			_ = framer.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
		},
		func() {
			_ = framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 3, BlockFragment: section(":status", "200")})
			_ = framer.WriteContinuation(3, false, section("x", "y", "set-cookie", "a"))
			_ = framer.WriteContinuation(3, true, section("x", "y"))
			_ = framer.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1})
			_ = framer.WriteData(3, true, nil)
		},
	} {
		out.Reset()
		_ = framer.WriteSettings()
		say()
		f.Add(bytes.Clone(out.Bytes()))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := &tape{began: make(chan struct{}), said: bytes.NewReader(said)}
		c, err := NewClientConn(conn, ClientOptions{MaxHeaderBytes: 4 << 10, StreamWindow: 1})
		if err != nil {
			t.Fatal(err)
		}
		var streams []*ClientStream
		for _, method := range []string{"GET", "HEAD"} {
			x := c.NewExchange()
			r := get("/")
			r.Method = method
			if err := x.WriteRequest(r, true); err != nil {
				t.Fatal(err)
			}
			streams = append(streams, x)
		}
		close(conn.began)
		for _, x := range streams {
			checkOutcome(t, x)
			x.Close(true)
		}
		<-c.done
		c.Close()
		if n := c.Active(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

func checkOutcome(t *testing.T, x *ClientStream) {
	for {
		res, err := x.ReadResponse()
		if err != nil {
			asFailure(t, err)
			return
		}
		if res.Status < 100 || res.Status > 999 || res.Status == 101 {
			t.Errorf("status %d", res.Status)
		}
		checkFields(t, res.Header)
		if res.Status < 200 {
			continue
		}
		body, err := io.ReadAll(x)
		if err != nil {
			asFailure(t, err)
			return
		}
		checkFields(t, res.Trailer)
		length, stated := res.Header.Get("content-length")
		if stated && !x.bodiless && length != strconv.Itoa(len(body)) && strings.TrimLeft(length, "0") != strings.TrimLeft(strconv.Itoa(len(body)), "0") {
			t.Errorf("content-length %s, and %d bytes", length, len(body))
		}
		return
	}
}
