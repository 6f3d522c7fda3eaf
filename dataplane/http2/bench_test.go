package http2

import (
	"io"
	"net"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// BenchmarkServer is 16 plain requests on a connection at once, as h2load sends them: what HPACK has in its tables, and a
// path that it has not.
func BenchmarkServer(b *testing.B) {
	const streams = 16
	near, far := net.Pipe()
	body := make([]byte, 128)
	head := &message.Response{Status: 200, ContentLength: 128, Header: message.Header{
		{Name: "Server", Value: "sluice"}, {Name: "Content-Length", Value: "128"}, {Name: "Content-Type", Value: "text/plain"}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeConn(far, ServerOptions{}, func(s *ServerStream) {
			_ = s.Respond(head, false)
			_, _ = s.Write(body)
			_ = s.End(nil)
		})
	}()
	defer func() { near.Close(); <-done }()
	framer := xhttp2.NewFramer(near, near)
	framer.SetReuseFrames()
	// The indexes of :method GET, :scheme https, and of :authority in the table after the first request.
	path := []byte{0x04, 5, '/', 'p', 'a', 't', 'h'}
	first := append(append(block(":method", "GET", ":scheme", "https", ":authority", "shop.test"), path...), block("user-agent", "bench/1")...)
	again := append(append([]byte{0x82, 0x87}, path...), 0xbf, 0xbe)
	id := uint32(1)
	go func() {
		_, _ = io.WriteString(near, Preface)
		_ = framer.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: maxWindow})
		_ = framer.WriteWindowUpdate(0, maxWindow-initialWindow)
		_ = framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: true})
	}()
	ended := func(n int) {
		for n > 0 {
			f, err := framer.ReadFrame()
			if err != nil {
				b.Fatal(err)
			}
			switch f := f.(type) {
			case *xhttp2.DataFrame:
				if f.StreamEnded() {
					n--
				}
			case *xhttp2.RSTStreamFrame:
				b.Fatal(f)
			}
		}
	}
	ended(1)
	burst := &bursts{}
	writer := xhttp2.NewFramer(burst, nil)
	b.ReportAllocs()
	for b.Loop() {
		burst.b = burst.b[:0]
		for range streams {
			if id += 2; id >= maxWindow {
				b.Fatal("no more streams")
			}
			_ = writer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: again, EndStream: true, EndHeaders: true})
		}
		if _, err := near.Write(burst.b); err != nil {
			b.Fatal(err)
		}
		ended(streams)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/streams, "ns/request")
}

// bursts gathers frames.
type bursts struct{ b []byte }

func (w *bursts) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
