package http2

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// posted begins an exchange whose body is still to come.
func posted(t testing.TB, c *ClientConn, s *script) *ClientStream {
	t.Helper()
	x := c.NewExchange()
	if x == nil {
		t.Fatal("no room")
	}
	head := get("/")
	head.Method = "POST"
	head.ContentLength = -1
	if err := x.WriteRequest(head, false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	s.await("HEADERS")
	return x
}

// TestAnswerKept: order, duplicates, early heads and trailers arrive as they were sent.
func TestAnswerKept(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	x := exchanged(t, c, s)
	defer x.Close(true)
	s.head(1, false, ":status", "100")
	s.head(1, false, ":status", "103", "link", "</b>", "link", "</a>")
	s.head(1, false, ":status", "200", "zeta", "1", "alpha", "2", "set-cookie", "b=1", "set-cookie", "a=1", "zeta", "3", "trailer", "x-sum")
	_ = s.WriteDataPadded(1, false, []byte("hello "), make([]byte, 5))
	_ = s.WriteData(1, false, nil)
	_ = s.WriteData(1, false, []byte("world"))
	s.head(1, true, "x-sum", "7", "x-more", "8", "content-length", "9")
	var got []string
	for {
		res, err := x.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(res.Status, " ", res.ContentLength, " ", res.Header))
		if res.Status < 200 {
			continue
		}
		body, err := io.ReadAll(x)
		got = append(got, fmt.Sprintf("%s %v %v", body, err, res.Trailer))
		break
	}
	want(t, "answer", strings.Join(got, "\n"), strings.Join([]string{
		"100 -1 []",
		"103 -1 [{link </b>} {link </a>}]",
		"200 -1 [{zeta 1} {alpha 2} {set-cookie b=1} {set-cookie a=1} {zeta 3} {trailer x-sum}]",
		"hello world <nil> [{x-sum 7} {x-more 8}]",
	}, "\n"))
}

// TestNext: what has come is lent where it lies, and what comes meanwhile does not change it.
func TestNext(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	x := exchanged(t, c, s)
	defer x.Close(true)
	s.head(1, false, ":status", "200")
	res, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := x.Next(); len(p) != 0 || err != nil {
		t.Errorf("got %q, %v, want nothing", p, err)
	}
	_ = s.WriteData(1, false, []byte("hello "))
	_ = c.Ping(t.Context())
	p, err := x.Next()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.WriteData(1, false, []byte("world"))
	_ = s.WriteData(1, false, make([]byte, 9000))
	s.head(1, true, "x-sum", "7")
	_ = c.Ping(t.Context())
	got := string(p)
	if _, err := io.ReadFull(x, make([]byte, 1005)); err != nil {
		t.Fatal(err)
	}
	rest := 0
	for err = nil; err == nil; {
		p, err = x.Next()
		rest += len(p)
	}
	want(t, "parts", fmt.Sprintf("%s%d, %v %v", got, rest, err, res.Trailer), "hello 8000, EOF [{x-sum 7}]")
	if p, err := x.Next(); len(p) != 0 || err != io.EOF {
		t.Errorf("got %q, %v, want the end", p, err)
	}
}

// TestLengths: what ContentLength says of answers without a body, and of those that may have none.
func TestLengths(t *testing.T) {
	for _, test := range []struct {
		name, method string
		end          bool
		fields       []string
		want         int64
	}{
		{"ends", "GET", true, nil, 0},
		{"ends, and says 0", "GET", true, []string{"content-length", "0"}, 0},
		{"says 0, and may have trailers", "GET", false, []string{"content-length", "0"}, -1},
		{"says 2", "GET", false, []string{"content-length", "2"}, 2},
		{"says 2 twice", "GET", false, []string{"content-length", "2", "content-length", "2"}, 2},
		{"says nothing", "GET", false, nil, -1},
		{"HEAD", "HEAD", true, []string{"content-length", "2"}, 0},
		{"HEAD, ends later", "HEAD", false, []string{"content-length", "2"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := greeted(t, ClientOptions{})
			x := c.NewExchange()
			defer x.Close(true)
			req := get("/")
			req.Method = test.method
			if err := x.WriteRequest(req, true); err != nil {
				t.Fatal(err)
			}
			s.head(1, test.end, append([]string{":status", "200"}, test.fields...)...)
			res, err := x.ReadResponse()
			if err != nil {
				t.Fatal(err)
			}
			want(t, "length", res.ContentLength, test.want)
		})
	}
}

// TestRequestOnTheWire is the head that an upstream sees.
func TestRequestOnTheWire(t *testing.T) {
	near, far := sockets(t)
	defer far.Close()
	c, err := NewClientConn(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x := c.NewExchange()
	defer x.Close(false)
	head := &message.Request{Method: "PUT", Scheme: "https", Authority: "a.test:8", Path: "/%7e?x", ContentLength: 2, Header: message.Header{
		{Name: "X-Zeta", Value: "1"}, {Name: "Host", Value: "b.test"}, {Name: "TE", Value: "gzip, trailers"}, {Name: "Connection", Value: "x"},
		{Name: "Content-Length", Value: "2"}, {Name: "Keep-Alive", Value: "5"}, {Name: "Upgrade", Value: "x"}, {Name: "cookie", Value: "a=1; b=2"},
		{Name: "Transfer-Encoding", Value: "chunked"}, {Name: "Proxy-Connection", Value: "x"}, {Name: "x-zeta", Value: "2"}, {Name: "Trailer", Value: "Sum"}}}
	if err := x.WriteRequest(head, false); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := x.End(message.Header{{Name: "Sum", Value: "7"}, {Name: "Content-Length", Value: "3"}}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(far, make([]byte, len(Preface)))
	framer := xhttp2.NewFramer(far, far)
	r := newFieldReader(0, 0)
	var got []string
	for len(got) < 3 {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *xhttp2.HeadersFrame:
			line := ""
			kind := requestSection
			if len(got) > 0 {
				kind = trailerSection
			}
			r.begin(kind, nil)
			_ = r.write(f.HeaderBlockFragment())
			_, why, err := r.end()
			if why != nil || err != nil {
				t.Fatal(why, err)
			}
			if kind == requestSection {
				line = fmt.Sprint(r.method, r.scheme, r.authority, r.path)
			}
			got = append(got, fmt.Sprint(line, r.fields, f.StreamEnded()))
		case *xhttp2.DataFrame:
			got = append(got, fmt.Sprintf("%s %v", f.Data(), f.StreamEnded()))
		}
	}
	want(t, "frames", strings.Join(got, "\n"), `PUThttpsa.test:8/%7e?x[{x-zeta 1} {te trailers} {content-length 2} {cookie a=1; b=2} {x-zeta 2} {trailer Sum}] false
hi false
[{sum 7}] true`)
}

// TestBadRequests: a head that would mean something else further on is not sent.
func TestBadRequests(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	for name, spoil := range map[string]func(r *message.Request){
		"method":    func(r *message.Request) { r.Method = "GET /x" },
		"scheme":    func(r *message.Request) { r.Scheme = "ftp" },
		"path":      func(r *message.Request) { r.Path = "/a b" },
		"no path":   func(r *message.Request) { r.Path = "" },
		"absolute":  func(r *message.Request) { r.Path = "http://x/" },
		"authority": func(r *message.Request) { r.Authority = "a@b" },
		"name":      func(r *message.Request) { r.Header = message.Header{{Name: "a b", Value: "c"}} },
		"pseudo":    func(r *message.Request) { r.Header = message.Header{{Name: ":path", Value: "/x"}} },
		"value":     func(r *message.Request) { r.Header = message.Header{{Name: "a", Value: "b\r\nc: d"}} },
	} {
		r := get("/")
		spoil(r)
		x := c.NewExchange()
		if f := asFailure(t, x.WriteRequest(r, true)); f.Kind != failure.BadRequest {
			t.Errorf("%s: %v", name, f)
		}
		x.Close(true)
	}
	// Nothing of it came, and the tables agree.
	x := exchanged(t, c, s)
	s.head(1, true, ":status", "200")
	if _, _, err := outcome(x); err != nil {
		t.Error(err)
	}
	x.Close(true)
	want(t, "active", c.Active(), 0)
}

// TestBodyUnlikeItsLength: a request that disagrees with its own head is reset.
func TestBodyUnlikeItsLength(t *testing.T) {
	for _, body := range []string{"", "x", "xyz"} {
		t.Run(body, func(t *testing.T) {
			c, s := greeted(t, ClientOptions{})
			x := c.NewExchange()
			defer x.Close(false)
			head := get("/")
			head.ContentLength = 2
			if err := x.WriteRequest(head, false); err != nil {
				t.Fatal(err)
			}
			_, err := x.Write([]byte(body))
			if err == nil {
				err = x.End(nil)
			}
			want(t, "kind", asFailure(t, err).Kind, failure.BadRequest)
			s.await("RST 1 CANCEL")
		})
	}
}

// TestSendWindows: no byte more goes out than the upstream allows, on the stream or on all of them.
func TestSendWindows(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10})
	x := posted(t, c, s)
	defer x.Close(false)
	written := make(chan error, 1)
	go func() {
		_, err := x.Write([]byte(strings.Repeat("x", 40)))
		if err == nil {
			err = x.End(nil)
		}
		written <- err
	}()
	s.await("DATA 1 10")
	_ = s.WriteWindowUpdate(1, 5)
	s.await("DATA 1 5")
	// The windows of open streams move with the setting, below zero too.
	_ = s.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 2})
	s.await("SETTINGS ack")
	_ = s.WriteWindowUpdate(1, 9)
	s.await("DATA 1 1")
	_ = s.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 22})
	s.await("DATA 1 20")
	_ = s.WriteWindowUpdate(1, 100)
	s.await("DATA 1 4")
	s.await("DATA 1 0 end")
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestConnectionSendWindow(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 20})
	x, y := posted(t, c, s), posted(t, c, s)
	defer x.Close(false)
	defer y.Close(false)
	written := make(chan error, 2)
	for _, stream := range []*ClientStream{x, y} {
		go func() {
			_, err := stream.Write(make([]byte, 50000))
			if err == nil {
				err = stream.End(nil)
			}
			written <- err
		}()
	}
	sum := 0
	for sum < initialWindow {
		var id, n int
		if _, err := fmt.Sscanf(s.await("DATA"), "DATA %d %d", &id, &n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	want(t, "sent", sum, initialWindow)
	_ = s.WriteWindowUpdate(0, 40000)
	for range 2 {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
}

// TestReceiveWindows: an upstream is credited with what was read, and what nobody reads stays within the window.
func TestReceiveWindows(t *testing.T) {
	c, s := greeted(t, ClientOptions{StreamWindow: 100000})
	x := exchanged(t, c, s)
	defer x.Close(false)
	s.head(1, false, ":status", "200")
	for range 6 {
		_ = s.WriteData(1, false, make([]byte, 16000))
	}
	if _, err := x.ReadResponse(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	for len(s.got) > 0 {
		if line := <-s.got; strings.HasPrefix(line, "WINDOW_UPDATE") {
			t.Error("credit for what was not read: ", line)
		}
	}
	if _, err := io.ReadFull(x, make([]byte, 60000)); err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(s.await("WINDOW_UPDATE 1"), "WINDOW_UPDATE 1 %d", &n); err != nil || n < 50000 || n > 60000 {
		t.Error(n, err)
	}
	want(t, "buffered", x.Buffered(), 6*16000-60000)
}

// TestPaddingIsCredited: nobody will ever read it.
func TestPaddingIsCredited(t *testing.T) {
	c, s := greeted(t, ClientOptions{StreamWindow: initialWindow})
	x := exchanged(t, c, s)
	defer x.Close(false)
	s.head(1, false, ":status", "200")
	for range 200 {
		_ = s.WriteDataPadded(1, false, []byte("x"), make([]byte, 200))
	}
	s.await("WINDOW_UPDATE 1")
	want(t, "buffered", x.Buffered() > 0, true)
}

// TestConnectionCredit: the connection's window is given back as bytes come, read or not.
func TestConnectionCredit(t *testing.T) {
	c, s := greeted(t, ClientOptions{StreamWindow: 64 << 20})
	x := exchanged(t, c, s)
	defer x.Close(false)
	s.head(1, false, ":status", "200")
	for range connWindow/2/16384 + 1 {
		_ = s.WriteData(1, false, make([]byte, 16384))
	}
	s.await("WINDOW_UPDATE 0 8388608")
}

// TestEarlyAnswer: an upstream that answers before it has the whole request may say that it wants no more
// (RFC 9113, 8.1); the answer is whole.
func TestEarlyAnswer(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1})
	x := posted(t, c, s)
	written := make(chan error, 1)
	go func() {
		_, err := x.Write(make([]byte, 10))
		written <- err
	}()
	s.await("DATA 1 1")
	s.head(1, false, ":status", "413", "content-length", "2")
	_ = s.WriteData(1, true, []byte("no"))
	_ = s.WriteRSTStream(1, xhttp2.ErrCodeNo)
	want(t, "writer", asFailure(t, <-written).Kind, failure.Reset)
	status, body, err := outcome(x)
	if status != 413 || body != "no" || err != nil {
		t.Error(status, body, err)
	}
	x.Close(true)
	want(t, "active", c.Active(), 0)
}

// TestGoAway: streams above the last go elsewhere, those below go on, and the connection ends with them.
func TestGoAway(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	x, y, held := exchanged(t, c, s), exchanged(t, c, s), c.NewExchange()
	_ = s.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
	_, _, err := outcome(y)
	if f := asFailure(t, err); f.Kind != failure.Reset || !f.Retryable || !f.Refused {
		t.Errorf("got %v (retryable %v, refused %v)", f, f.Retryable, f.Refused)
	}
	y.Close(false)
	want(t, "room", c.CanTakeNewRequest(), false)
	if f := asFailure(t, held.WriteRequest(get("/"), true)); !f.Retryable || !f.Unsent {
		t.Errorf("got %v, want it retryable, and nothing sent", f)
	}
	held.Close(true)
	want(t, "closed", c.Closed(), false)
	s.head(1, true, ":status", "200")
	if _, _, err := outcome(x); err != nil {
		t.Error(err)
	}
	x.Close(true)
	s.await("closed")
	want(t, "closed", c.Closed(), true)
}

// TestIdsRunOut: a connection that has used the last stream's number ends with its streams (RFC 9113, 5.1.1).
func TestIdsRunOut(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	c.lock()
	c.nextID = maxStreamID
	c.unlock()
	x := exchanged(t, c, s)
	want(t, "room", c.CanTakeNewRequest(), false)
	s.head(maxStreamID, true, ":status", "200")
	if _, _, err := outcome(x); err != nil {
		t.Error(err)
	}
	x.Close(true)
	s.await("closed")
}

// TestShutdown: what was begun goes on, and so does an exchange that was handed out.
func TestShutdown(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	x, held := exchanged(t, c, s), c.NewExchange()
	done := make(chan error, 1)
	go func() { done <- c.Shutdown(context.Background()) }()
	s.await("GOAWAY NO_ERROR")
	if c.NewExchange() != nil {
		t.Error("an exchange after Shutdown")
	}
	if err := held.WriteRequest(get("/"), true); err != nil {
		t.Fatal(err)
	}
	s.head(1, true, ":status", "200")
	s.head(3, true, ":status", "200")
	for _, stream := range []*ClientStream{x, held} {
		if _, _, err := outcome(stream); err != nil {
			t.Error(err)
		}
		stream.Close(true)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.await("closed")
}

// TestCloseWakes: Close(false) ends who waits, for windows and for the answer, and tells the upstream.
func TestCloseWakes(t *testing.T) {
	c, s := greeted(t, ClientOptions{}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1})
	x := posted(t, c, s)
	woken := make(chan error, 2)
	go func() {
		_, err := x.Write(make([]byte, 10))
		woken <- err
	}()
	go func() {
		_, err := x.ReadResponse()
		woken <- err
	}()
	s.await("DATA 1 1")
	x.Close(false)
	for range 2 {
		want(t, "kind", asFailure(t, <-woken).Kind, failure.Reset)
	}
	s.await("RST 1 CANCEL")
	// What was under way for it does no harm.
	s.head(1, false, ":status", "200", "x", "y")
	_ = s.WriteData(1, true, []byte("late"))
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestHeadIsNotReset: an upstream that ends its answer to HEAD by another frame is not treated like one that talks on.
func TestHeadIsNotReset(t *testing.T) {
	c, s := greeted(t, ClientOptions{})
	for i := range 2 * maxLingering {
		x := c.NewExchange()
		head := get("/")
		head.Method = "HEAD"
		if err := x.WriteRequest(head, true); err != nil {
			t.Fatal(err)
		}
		s.head(uint32(2*i+1), false, ":status", "200", "content-length", "5")
		if _, err := x.ReadResponse(); err != nil {
			t.Fatal(err)
		}
		x.Close(true)
	}
	want(t, "active", c.Active(), maxLingering)
	for i := range maxLingering {
		_ = s.WriteData(uint32(2*i+1), true, nil)
	}
	_ = c.Ping(t.Context())
	want(t, "active", c.Active(), 0)
	for i := maxLingering; i < 2*maxLingering; i++ {
		want(t, "reset", s.await("RST"), fmt.Sprintf("RST %d CANCEL", 2*i+1))
	}
}

// TestRoom: who was told that there is none hears when there is.
func TestRoom(t *testing.T) {
	news := make(chan struct{}, 10)
	c, s := greeted(t, ClientOptions{Room: func() { news <- struct{}{} }},
		xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 1})
	x := exchanged(t, c, s)
	if c.NewExchange() != nil {
		t.Fatal("a second stream")
	}
	s.head(1, true, ":status", "200")
	<-news
	x.Close(true)
	x = exchanged(t, c, s)
	if c.NewExchange() != nil {
		t.Fatal("a second stream")
	}
	_ = s.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 2})
	<-news
	y := exchanged(t, c, s)
	if c.NewExchange() != nil {
		t.Fatal("a third stream")
	}
	_ = s.WriteGoAway(maxStreamID, xhttp2.ErrCodeNo, nil)
	<-news
	x.Close(true)
	y.Close(true)
	<-news
	want(t, "closed", c.Closed(), true)
}

// TestClientTimes: an idle connection ends, and so does one whose socket takes nothing.
func TestClientTimes(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			c, s := scriptedOver(t, near, far, ClientOptions{IdleTimeout: time.Minute}, []xhttp2.Setting{})
			time.Sleep(50 * time.Second)
			x := exchanged(t, c, s)
			time.Sleep(5 * time.Minute)
			go s.head(1, true, ":status", "200")
			if _, _, err := outcome(x); err != nil {
				t.Error(err)
			}
			x.Close(true)
			time.Sleep(59 * time.Second)
			synctest.Wait()
			want(t, "closed before its time", c.Closed(), false)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			want(t, "closed", c.Closed(), true)
			s.await("GOAWAY NO_ERROR")
			s.await("closed")
		})
	})
	t.Run("stuck", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { _, _ = io.CopyN(io.Discard, far, int64(len(Preface)+9+18+13)) }()
			c, err := NewClientConn(near, ClientOptions{WriteTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			x := c.NewExchange()
			begun := time.Now()
			err = x.WriteRequest(get("/"), true)
			if err == nil {
				_, _, err = outcome(x)
			}
			want(t, "kind", asFailure(t, err).Kind, failure.Reset)
			want(t, "after", time.Since(begun), time.Minute)
			x.Close(false)
			<-c.done
		})
	})
}

// TestCloseBeforeTheRequest: who waits for an answer already is woken when the request is never sent, or cannot be.
func TestCloseBeforeTheRequest(t *testing.T) {
	for name, end := range map[string]func(c *ClientConn, x *ClientStream){
		"closed": func(_ *ClientConn, x *ClientStream) { x.Close(false) },
		"not sent": func(c *ClientConn, x *ClientStream) {
			c.Close()
			if err := x.WriteRequest(get("/"), true); err == nil {
				t.Error("it was sent on a connection that is closed")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				c, _ := scriptedOver(t, near, far, ClientOptions{}, []xhttp2.Setting{})
				x := c.NewExchange()
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, err = x.ReadResponse()
				}()
				synctest.Wait()
				end(c, x)
				<-done
				want(t, "kind", asFailure(t, err).Kind, failure.Reset)
				x.Close(false)
				c.Close()
			})
		})
	}
}
