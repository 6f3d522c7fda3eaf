package http2

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// canned is an upstream that answers each request with the same bytes, and allocates nothing.
func canned(c net.Conn, body int) {
	buf := make([]byte, 64<<10)
	out := make([]byte, 0, 64<<10)
	if _, err := io.ReadFull(c, buf[:len(Preface)]); err != nil {
		return
	}
	_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
	used := 0
	for {
		n, err := c.Read(buf[used:])
		if err != nil {
			return
		}
		used += n
		rest := buf[:used]
		out = out[:0]
		for len(rest) >= 9 {
			length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
			if len(rest) < 9+length {
				break
			}
			if rest[3] == 1 {
				out = append(out, 0, 0, 1, 1, 4)
				out = append(out, rest[5:9]...)
				out = append(out, 0x88)
				for left := body; left > 0; {
					piece := min(left, defaultFrame)
					left -= piece
					flag := byte(0)
					if left == 0 {
						flag = 1
					}
					out = append(out, byte(piece>>16), byte(piece>>8), byte(piece), 0, flag)
					out = append(out, rest[5:9]...)
					at := len(out)
					out = append(out, make([]byte, piece)...)
					binary.BigEndian.PutUint32(out[at:], 1)
				}
			}
			rest = rest[9+length:]
		}
		used = copy(buf, rest)
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

// cannedConn is a client of a canned upstream.
func cannedConn(t testing.TB, body int) *ClientConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { canned(far, body) })
	c, err := NewClientConn(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close(); wg.Wait() })
	return c
}

func plainRequest() *message.Request {
	r := get("/some/path?of=a&usual=length")
	r.Header = message.Header{
		{Name: "user-agent", Value: "curl/8.5.0"}, {Name: "accept", Value: "*/*"},
		{Name: "x-forwarded-for", Value: "192.0.2.7"}, {Name: "x-forwarded-proto", Value: "http"},
		{Name: "x-request-id", Value: "6b2b3a0e-8f5e-4b5a-9d8e-0d5a5f2a5a11"},
	}
	return r
}

func plainExchange(t testing.TB, c *ClientConn, r *message.Request, buf []byte, body int) {
	x := c.NewExchange()
	if x == nil {
		t.Fatal("no room")
	}
	if err := x.WriteRequest(r, true); err != nil {
		t.Fatal(err)
	}
	res, err := x.ReadResponse()
	if err != nil || res.Status != 200 {
		t.Fatal(res, err)
	}
	got := 0
	for {
		n, err := x.Read(buf)
		if got += n; err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got != body {
		t.Fatalf("%d bytes, want %d", got, body)
	}
	x.Close(true)
}

func BenchmarkExchange(b *testing.B) {
	c := cannedConn(b, 128)
	buf := make([]byte, 4096)
	r := plainRequest()
	b.ReportAllocs()
	for b.Loop() {
		plainExchange(b, c, r, buf, 128)
	}
}

func BenchmarkExchangeParallel(b *testing.B) {
	c := cannedConn(b, 128)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 4096)
		r := plainRequest()
		for pb.Next() {
			plainExchange(b, c, r, buf, 128)
		}
	})
}

func BenchmarkExchange16K(b *testing.B) {
	c := cannedConn(b, 16<<10)
	buf := make([]byte, 32<<10)
	r := plainRequest()
	b.SetBytes(16 << 10)
	b.ReportAllocs()
	for b.Loop() {
		plainExchange(b, c, r, buf, 16<<10)
	}
}
