package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func initialWindowSize(n uint32) xhttp2.Setting {
	return xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: n}
}

// quiet holds that nothing comes before the answer to a PING.
func (r *rawClient) quiet() {
	r.t.Helper()
	_ = r.WritePing(false, [8]byte{'?'})
	r.expect(`PING "?" true`)
}

// TestSendWindow: DATA goes out as windows allow, those of open streams as SETTINGS change them.
func TestSendWindow(t *testing.T) {
	r := dialRaw(t, ServerOptions{}, serveTest, initialWindowSize(10))
	r.headers(1, true, request("GET", "/big")...)
	r.expect("HEADERS 1 :status=200", "DATA 1 "+strings.Repeat("\x00", 10))
	r.quiet()
	_ = r.WriteSettings(initialWindowSize(30))
	r.expect("DATA 1 " + strings.Repeat("\x00", 20))
	// Less than was sent already: the window is -20, and 20 bytes are needed to come to nothing.
	_ = r.WriteSettings(initialWindowSize(10))
	_ = r.WriteWindowUpdate(1, 20)
	r.quiet()
	_ = r.WriteWindowUpdate(1, 3)
	r.expect("DATA 1 \x00\x00\x00")
	// The connection's window is full before the stream's.
	_ = r.WriteWindowUpdate(1, 200<<10)
	for sent := 33; sent < initialWindow; {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*xhttp2.DataFrame); ok {
			sent += len(f.Data())
		}
	}
	r.quiet()
	_ = r.WriteWindowUpdate(0, 5)
	r.expect("DATA 1 \x00\x00\x00\x00\x00")
	// Another stream, and a reset, are not in the way of each other.
	r.headers(3, true, getRoot...)
	r.expect("HEADERS 3 :status=200 END")
	_ = r.WriteRSTStream(1, xhttp2.ErrCodeCancel)
	_ = r.WriteWindowUpdate(0, 5)
	r.quiet()
}

// TestReceiveWindow: a body is credited as it is read, or when nobody will; more than was allowed is refused.
func TestReceiveWindow(t *testing.T) {
	reads := make(chan int)
	handle := func(s *ServerStream) {
		for n := range reads {
			if n == 0 {
				break
			}
			if _, err := io.ReadFull(s, make([]byte, n)); err != nil {
				return
			}
		}
		_ = s.Respond(&message.Response{Status: 200}, true)
	}
	dial := func(t *testing.T) *rawClient {
		r := dialRaw(t, ServerOptions{InitialStreamWindow: 40_000, InitialConnectionWindow: 65_535}, handle)
		_ = r.WriteSettingsAck()
		r.quiet()
		return r
	}
	frame := make([]byte, 10_000)
	t.Run("credited as read", func(t *testing.T) {
		r := dial(t)
		r.headers(1, false, request("POST", "/")...)
		for range 4 {
			_ = r.WriteData(1, false, frame)
		}
		r.quiet()
		reads <- 19_999
		r.quiet()
		reads <- 1
		want(t, "update", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 1 20000")
		reads <- 15_000
		want(t, "update", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 0 35000")
		// Who answers without having read it all: the rest is the connection's again.
		_ = r.WriteData(1, false, frame)
		_ = r.WriteDataPadded(1, true, nil, make([]byte, 99))
		r.quiet()
		reads <- 0
		r.expect("HEADERS 1 :status=200 END")
		r.headers(3, false, request("POST", "/")...)
		_ = r.WriteData(3, false, frame)
		_ = r.WriteData(3, false, frame)
		reads <- 20_000
		want(t, "update", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 0 35100")
		reads <- 0
	})
	t.Run("the stream's exceeded", func(t *testing.T) {
		r := dial(t)
		r.headers(1, false, request("POST", "/")...)
		for range 4 {
			_ = r.WriteData(1, false, frame)
		}
		r.quiet()
		_ = r.WriteData(1, false, []byte("x"))
		r.expect("RST 1 FLOW_CONTROL_ERROR")
		reads <- 0
	})
	t.Run("the connection's exceeded", func(t *testing.T) {
		r := dial(t)
		for id := uint32(1); id <= 3; id += 2 {
			r.headers(id, false, request("POST", "/")...)
			for range 4 {
				_ = r.WriteData(id, false, frame)
			}
		}
		r.expect("GOAWAY 3 FLOW_CONTROL_ERROR")
		reads <- 0
		reads <- 0
		r.expect("EOF")
	})
	t.Run("the default, before our SETTINGS are known", func(t *testing.T) {
		r := dialRaw(t, ServerOptions{InitialStreamWindow: 40_000}, handle)
		r.headers(1, false, request("POST", "/")...)
		for range 6 {
			_ = r.WriteData(1, false, frame)
		}
		_ = r.WriteSettingsAck()
		r.quiet()
		reads <- 40_000
		want(t, "update", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 1 40000")
		reads <- 0
		r.expect("HEADERS 1 :status=200 END", "RST 1 NO_ERROR")
	})
	t.Run("and no more once they are", func(t *testing.T) {
		r := dialRaw(t, ServerOptions{InitialStreamWindow: 40_000}, handle)
		r.headers(1, false, request("POST", "/")...)
		r.quiet()
		_ = r.WriteSettingsAck()
		for range 4 {
			_ = r.WriteData(1, false, frame)
		}
		r.quiet()
		_ = r.WriteData(1, false, []byte("x"))
		r.expect("RST 1 FLOW_CONTROL_ERROR")
		reads <- 0
	})
	t.Run("padding is credited", func(t *testing.T) {
		r := dial(t)
		r.headers(1, false, request("POST", "/")...)
		for range 100 {
			_ = r.WriteDataPadded(1, false, []byte("x"), make([]byte, 199))
		}
		want(t, "update", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 1 20000")
		reads <- 100
		reads <- 0
	})
	close(reads)
}

// TestDrainInTwoSteps is RFC 9113, 6.8: what the client sent before it read the first GOAWAY is served, what it sends
// after the second is not, and the last answer ends the connection.
func TestDrainInTwoSteps(t *testing.T) {
	drain, release := make(chan struct{}), make(chan struct{})
	r := dialRaw(t, ServerOptions{Drain: drain}, func(s *ServerStream) {
		<-release
		_ = s.Respond(&message.Response{Status: 200}, true)
	})
	r.headers(1, true, getRoot...)
	r.quiet()
	close(drain)
	r.expect(fmt.Sprintf("GOAWAY %d NO_ERROR", maxWindow), `PING "drain" false`)
	r.headers(3, true, getRoot...)
	_ = r.WritePing(true, drainPing)
	r.expect("GOAWAY 3 NO_ERROR")
	r.headers(5, false, request("POST", "/")...)
	_ = r.WriteData(5, false, []byte("late"))
	_ = r.WriteWindowUpdate(5, 1)
	r.headers(7, false, request("POST", "/")...)
	_ = r.WriteRSTStream(7, xhttp2.ErrCodeCancel)
	r.quiet()
	close(release)
	got := []string{r.next(), r.next(), r.next()}
	if s := strings.Join(got, "|"); s != "HEADERS 1 :status=200 END|HEADERS 3 :status=200 END|EOF" &&
		s != "HEADERS 3 :status=200 END|HEADERS 1 :status=200 END|EOF" {
		t.Error(s)
	}
}

// inTime serves a connection in a bubble of its own time.
func inTime(t *testing.T, opts ServerOptions, handle func(*ServerStream), talk func(t *testing.T, r *rawClient)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			ServeConn(far, opts, handle)
		}()
		r := &rawClient{Framer: xhttp2.NewFramer(near, near), t: t, conn: near}
		r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		r.enc = hpack.NewEncoder(&r.block)
		talk(t, r)
		near.Close()
		<-done
	})
}

func (r *rawClient) greet() {
	r.t.Helper()
	_, _ = io.WriteString(r.conn, Preface)
	_ = r.WriteSettings()
	want(r.t, "settings", r.next(xhttp2.FrameSettings), "SETTINGS false")
	want(r.t, "window", r.next(xhttp2.FrameWindowUpdate), "WINDOW_UPDATE 0 983041")
	want(r.t, "settings", r.next(xhttp2.FrameSettings), "SETTINGS true")
}

// TestTimes are the limits of time, in a time that does not pass.
func TestTimes(t *testing.T) {
	elapsed := func(start time.Time) string { return time.Since(start).Round(time.Millisecond).String() }
	t.Run("no preface", func(t *testing.T) {
		inTime(t, ServerOptions{}, serveTest, func(t *testing.T, r *rawClient) {
			start := time.Now()
			r.expect("EOF")
			want(t, "time", elapsed(start), "10s")
		})
	})
	t.Run("idle", func(t *testing.T) {
		inTime(t, ServerOptions{IdleTimeout: time.Minute}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			time.Sleep(30 * time.Second)
			r.headers(1, true, getRoot...)
			r.expect("HEADERS 1 :status=200 END")
			start := time.Now()
			r.expect("GOAWAY 1 NO_ERROR", "EOF")
			want(t, "time", elapsed(start), "1m1s") // with the time to linger
		})
	})
	t.Run("workers of a quiet connection", func(t *testing.T) {
		workers := func() int {
			buf := make([]byte, 1<<20)
			return strings.Count(string(buf[:runtime.Stack(buf, true)]), "(*serverConn).work(")
		}
		inTime(t, ServerOptions{}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			for id := uint32(1); id < 9; id += 2 {
				r.headers(id, true, request("GET", "/wait")...)
			}
			for id := uint32(1); id < 9; id += 2 {
				_ = r.WriteRSTStream(id, xhttp2.ErrCodeCancel)
			}
			synctest.Wait()
			want(t, "workers", workers(), 4)
			time.Sleep(quietTime)
			synctest.Wait()
			want(t, "workers", workers(), 0)
			r.headers(9, true, getRoot...)
			r.expect("HEADERS 9 :status=200 END")
		})
	})
	t.Run("half a field section is idle too", func(t *testing.T) {
		inTime(t, ServerOptions{IdleTimeout: time.Minute}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			r.expect("GOAWAY 0 NO_ERROR", "EOF")
		})
	})
	t.Run("a drain whose PING is not answered", func(t *testing.T) {
		drain := make(chan struct{})
		inTime(t, ServerOptions{Drain: drain}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			close(drain)
			start := time.Now()
			r.expect(fmt.Sprintf("GOAWAY %d NO_ERROR", maxWindow), `PING "drain" false`, "GOAWAY 0 NO_ERROR")
			want(t, "time", elapsed(start), "1s")
			r.expect("EOF")
		})
	})
	t.Run("a drain whose PING is answered", func(t *testing.T) {
		drain := make(chan struct{})
		inTime(t, ServerOptions{Drain: drain}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			close(drain)
			start := time.Now()
			r.expect(fmt.Sprintf("GOAWAY %d NO_ERROR", maxWindow), `PING "drain" false`)
			_ = r.WritePing(true, drainPing)
			r.expect("GOAWAY 0 NO_ERROR")
			want(t, "time", elapsed(start), "0s")
		})
	})
	t.Run("no window opens", func(t *testing.T) {
		var failed error
		inTime(t, ServerOptions{WriteTimeout: time.Minute}, func(s *ServerStream) {
			_ = s.Respond(&message.Response{Status: 200}, false)
			_, failed = s.Write(make([]byte, 100<<10))
		}, func(t *testing.T, r *rawClient) {
			r.greet()
			start := time.Now()
			r.headers(1, true, request("GET", "/big")...)
			r.expect("HEADERS 1 :status=200", "DATA 1 (16384)", "DATA 1 (16384)", "DATA 1 (16384)", "DATA 1 (16383)",
				"RST 1 INTERNAL_ERROR")
			want(t, "time", elapsed(start), "1m0s")
		})
		want(t, "kind", asFailure(t, failed).Kind, failure.ClientGone)
	})
	t.Run("the socket takes nothing", func(t *testing.T) {
		inTime(t, ServerOptions{WriteTimeout: time.Minute}, serveTest, func(t *testing.T, r *rawClient) {
			r.greet()
			start := time.Now()
			r.headers(1, true, request("GET", "/big")...)
			synctest.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			want(t, "time", elapsed(start), "1m0s")
			r.expect("EOF")
		})
	})
}

// TestOrder: fields keep their order and their number, both ways.
func TestOrder(t *testing.T) {
	r := dialRaw(t, ServerOptions{}, func(s *ServerStream) {
		want(t, "request", fmt.Sprint(s.Request().Header), "[{z 1} {cookie a=1; b=2} {a 2} {z 3} {content-length 0}]")
		_ = s.Respond(&message.Response{Status: 200, Header: message.Header{
			{Name: "Z", Value: "1"}, {Name: "Set-Cookie", Value: "a"}, {Name: "a", Value: "2"}, {Name: "Set-Cookie", Value: "b"},
			{Name: "Connection", Value: "close"}, {Name: "TE", Value: "trailers"}}}, true)
	})
	r.headers(1, true, request("GET", "/", "z", "1", "cookie", "a=1", "a", "2", "cookie", "b=2", "z", "3",
		"content-length", "0", "content-length", "0")...)
	r.expect("HEADERS 1 :status=200 z=1 set-cookie=a a=2 set-cookie=b END")
}

// TestBadAnswer: what cannot be sent breaks its stream off, not the connection.
func TestBadAnswer(t *testing.T) {
	r := dialRaw(t, ServerOptions{}, func(s *ServerStream) {
		if s.Request().Path == "/" {
			_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "x-twice", Value: "same"}}}, true)
			return
		}
		err := s.Respond(&message.Response{Status: 200, Header: message.Header{
			{Name: "x-twice", Value: "same"}, {Name: "x", Value: "a\r\nb: c"}}}, true)
		want(t, "kind", asFailure(t, err).Kind, failure.Internal)
	})
	// The second time a field enters HPACK's table.
	for id, want := range []string{"HEADERS 1 :status=200 x-twice=same END", "RST 3 INTERNAL_ERROR",
		"HEADERS 5 :status=200 x-twice=same END", "HEADERS 7 :status=200 x-twice=same END"} {
		path := "/"
		if id == 1 {
			path = "/bad"
		}
		r.headers(uint32(2*id+1), true, request("GET", path)...)
		r.expect(want)
	}
}

// TestLargeHead: a section that does not fit in a frame is continued.
func TestLargeHead(t *testing.T) {
	value := strings.Repeat("v", 40<<10)
	r := dialRaw(t, ServerOptions{}, func(s *ServerStream) {
		got, _ := s.Request().Header.Get("x")
		_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "y", Value: got}}}, true)
	})
	block := bytes.Clone(r.encode(request("GET", "/", "x", value)...))
	_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
	_ = r.WriteContinuation(1, false, block[16<<10:32<<10])
	_ = r.WriteContinuation(1, true, block[32<<10:])
	r.expect("HEADERS 1 :status=200 y=(40960) END")
}

// writes counts what is written to a connection.
type writes struct {
	net.Conn
	n atomic.Int32
}

func (w *writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

// TestOneWrite: an answer leaves whole, in one system call.
func TestOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		counted := &writes{Conn: far}
		done := make(chan struct{})
		go func() {
			defer close(done)
			ServeConn(counted, ServerOptions{}, func(s *ServerStream) {
				_ = s.Respond(&message.Response{Status: 200}, false)
				for range 10 {
					_, _ = s.Write([]byte("ha"))
				}
				_ = s.End(message.Header{{Name: "x", Value: "y"}})
			})
		}()
		r := &rawClient{Framer: xhttp2.NewFramer(near, near), t: t, conn: near}
		r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		r.enc = hpack.NewEncoder(&r.block)
		r.greet()
		// Who wrote the greeting would take the answer's first part along.
		synctest.Wait()
		before := counted.n.Load()
		r.headers(1, true, getRoot...)
		r.expect("HEADERS 1 :status=200")
		for range 10 {
			r.expect("DATA 1 ha")
		}
		r.expect("HEADERS 1 x=y END")
		want(t, "writes", counted.n.Load()-before, 1)
		near.Close()
		<-done
	})
}
