package http2

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestFloods: each way to cost a server work ends the connection with ENHANCE_YOUR_CALM, soon.
func TestFloods(t *testing.T) {
	const calm = "ENHANCE_YOUR_CALM"
	open := func(r *rawClient, path string) { r.headers(1, false, request("POST", path)...) }
	for _, test := range []struct {
		name  string
		begin func(r *rawClient)
		// send is called again and again until it fails.
		send func(r *rawClient, i int) error
	}{
		{"PING, CVE-2019-9512", nil, func(r *rawClient, _ int) error { return r.WritePing(false, [8]byte{}) }},
		{"PING's ACK", nil, func(r *rawClient, _ int) error { return r.WritePing(true, [8]byte{}) }},
		{"SETTINGS, CVE-2019-9515", nil, func(r *rawClient, _ int) error { return r.WriteSettings() }},
		{"PRIORITY, CVE-2019-9513", nil, func(r *rawClient, i int) error {
			return r.WritePriority(uint32(2*i+1), xhttp2.PriorityParam{Weight: uint8(i)})
		}},
		{"WINDOW_UPDATE", func(r *rawClient) { open(r, "/wait") }, func(r *rawClient, _ int) error {
			return r.WriteWindowUpdate(1, 1)
		}},
		{"WINDOW_UPDATE of the connection", nil, func(r *rawClient, _ int) error { return r.WriteWindowUpdate(0, 1) }},
		{"unknown frames", nil, func(r *rawClient, _ int) error { return r.WriteRawFrame(0x99, 0, 0, nil) }},
		{"empty DATA, CVE-2019-9518", func(r *rawClient) { open(r, "/wait") }, func(r *rawClient, _ int) error {
			return r.WriteData(1, false, nil)
		}},
		{"padded empty DATA", func(r *rawClient) { open(r, "/wait") }, func(r *rawClient, _ int) error {
			return r.WriteDataPadded(1, false, nil, make([]byte, 1))
		}},
		{"empty HEADERS", nil, func(r *rawClient, i int) error {
			return r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true, EndStream: true})
		}},
		{"rapid reset, CVE-2023-44487", nil, func(r *rawClient, i int) error {
			id := uint32(2*i + 1)
			block := r.encode(request("GET", "/wait")...)
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
			return r.WriteRSTStream(id, xhttp2.ErrCodeCancel)
		}},
		{"resets that we are made to send, CVE-2025-8671", nil, func(r *rawClient, i int) error {
			id := uint32(2*i + 1)
			block := r.encode(request("GET", "/wait")...)
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
			return r.WriteRawFrame(xhttp2.FrameWindowUpdate, 0, id, make([]byte, 4))
		}},
		{"bad requests", nil, func(r *rawClient, i int) error {
			block := r.encode(request("GET", "/", "x", " blank")...)
			return r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndHeaders: true, EndStream: true})
		}},
		{"DATA on closed streams", func(r *rawClient) {
			r.headers(1, true, getRoot...)
			r.expect("HEADERS 1 :status=200 END")
			// Of the streams that we reset, the first is forgotten after a while.
			for id := uint32(3); id < 2*maxRecent+10; id += 2 {
				r.headers(id, true, request("GET", "/", "x", " blank")...)
				r.next()
			}
		}, func(r *rawClient, _ int) error { return r.WriteData(1, false, []byte("x")) }},
		{"CONTINUATION without bytes, CVE-2024-27316", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}, func(r *rawClient, _ int) error { return r.WriteContinuation(1, false, nil) }},
		{"CONTINUATION with many", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}, func(r *rawClient, _ int) error { return r.WriteContinuation(1, false, make([]byte, 16<<10)) }},
		{"a string without end", func(r *rawClient) {
			_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x40, 0x7f, 0xff, 0xff, 0xff, 0x7f}})
		}, func(r *rawClient, _ int) error {
			return r.WriteContinuation(1, false, []byte(strings.Repeat("a", 16<<10)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := dialRaw(t, ServerOptions{MaxConcurrentStreams: 1 << 20}, serveTest)
			if test.begin != nil {
				test.begin(r)
			}
			done := make(chan int)
			go func() {
				i := 0
				for ; i < 100_000 && test.send(r, i) == nil; i++ {
				}
				done <- i
			}()
			got := r.next()
			for !strings.HasPrefix(got, "GOAWAY") && got != "EOF" && !strings.Contains(got, "timeout") {
				got = r.next()
			}
			if !strings.HasSuffix(got, calm) {
				t.Errorf("got %s, want %s", got, calm)
			}
			for n := range 1000 {
				if got := r.next(); got == "EOF" {
					break
				} else if n == 999 {
					t.Errorf("after GOAWAY: %s", got)
				}
			}
			r.conn.Close()
			<-done
		})
	}
}

// TestAnswersNotRead: a client that does not read what it asks for is not answered for ever.
func TestAnswersNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			ServeConn(far, ServerOptions{}, serveTest)
		}()
		_, _ = io.WriteString(near, Preface)
		framer := xhttp2.NewFramer(near, near)
		err, pings := framer.WriteSettings(), 0
		for ; err == nil; pings++ {
			err = framer.WritePing(false, [8]byte{})
		}
		if pings < maxControl/2 || pings > maxControl+10 {
			t.Errorf("%d PINGs were taken", pings)
		}
		near.Close()
		<-done
	})
}

// TestPatience: what is normal never runs out of it.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatience()
		for range 1000 {
			// Ten minutes of pings.
			for range patiencePerSecond - 1 {
				if !p.spend(costFrame) {
					t.Fatal("200 frames a second are too many")
				}
			}
			time.Sleep(time.Second)
		}
		for range 100_000 {
			// Requests of which every second is taken back, and their windows.
			if !p.spend(costReset) || !p.spend(2*costFrame) {
				t.Fatal("a reset for each answer is too much")
			}
			p.earn(earnAnswer + earnData)
		}
		n := 0
		for p.spend(costReset) {
			n++
		}
		// A whole limit has come back meanwhile, and was not yet counted.
		if n > 2*patienceLimit/costReset {
			t.Errorf("%d resets", n)
		}
	})
}

// TestBombs: what is small on the wire, and large here (CVE-2016-1544), is refused as what it is.
func TestBombs(t *testing.T) {
	refused := 0
	opts := ServerOptions{MaxHeaderCount: 100, Refused: func(req *message.Request, _ *failure.Error) { refused += len(req.Header) }}
	r := dialRaw(t, opts, serveTest)
	big := hpack.HeaderField{Name: "x", Value: strings.Repeat("v", 4000)}
	r.block.Reset()
	for i := 0; i < len(getRoot); i += 2 {
		_ = r.enc.WriteField(hpack.HeaderField{Name: getRoot[i], Value: getRoot[i+1]})
	}
	_ = r.enc.WriteField(big)
	for range 12_000 {
		_ = r.enc.WriteField(big) // one byte each, 48 MB in all
	}
	_ = r.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block.Bytes(), EndStream: true, EndHeaders: true})
	r.expect("HEADERS 1 :status=431 content-length=0 END")
	// Crumbs of cookies are one field, as long as they are not too many bytes.
	crumbs := getRoot
	for i := range 500 {
		crumbs = append(crumbs, "cookie", fmt.Sprint(i))
	}
	r.headers(3, true, crumbs...)
	r.expect("HEADERS 3 :status=200 END")
	for range 2000 {
		crumbs = append(crumbs, "cookie", "")
	}
	r.headers(5, true, crumbs...)
	r.expect("HEADERS 5 :status=431 content-length=0 END")
	if refused > 2000 {
		t.Errorf("%d fields were kept", refused)
	}
}
