package dns

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestNoEnd: a server that goes on talking, or promises what it never sends, holds a question no longer than one that is
// silent, and leaves nothing behind (goleak).
func TestNoEnd(t *testing.T) {
	truncated := func(h dnsmessage.Header, q dnsmessage.Question) []byte {
		h.Truncated = true
		return message(h, q)
	}
	forged := func(h dnsmessage.Header, q dnsmessage.Question) []byte {
		h.ID++
		return message(h, q, rr{"a.test.", 60, "10.6.6.6"})
	}
	for _, c := range []struct {
		name string
		// udp answers, over and over until the client is gone if flood; tcp is what is sent there before silence.
		udp   func(dnsmessage.Header, dnsmessage.Question) []byte
		flood bool
		tcp   []byte
	}{
		{"forged answers without end", forged, true, nil},
		{"no length over TCP", truncated, false, nil},
		{"half a length over TCP", truncated, false, []byte{0xff}},
		{"a length and no message over TCP", truncated, false, []byte{0xff, 0xff}},
		{"half a message over TCP", truncated, false, []byte{0xff, 0xff, 1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			packets, err := net.ListenPacket("udp", l.Addr().String())
			if err != nil {
				t.Skip("the port is another's over UDP")
			}
			done, stop := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer l.Close()
			defer packets.Close()
			defer stop()
			wg.Go(func() {
				buf := make([]byte, 4096)
				n, from, err := packets.ReadFrom(buf)
				if err != nil {
					return
				}
				var p dnsmessage.Parser
				h, _ := p.Start(buf[:n])
				q, _ := p.Question()
				for m := c.udp(h, q); done.Err() == nil; {
					_, _ = packets.WriteTo(m, from)
					if !c.flood {
						return
					}
				}
			})
			wg.Go(func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Write(c.tcp)
				_, _ = io.Copy(io.Discard, conn) // until the client goes
			})
			a := exchange(context.Background(), l.Addr().String(), "a.test.", dnsmessage.TypeA, 50*time.Millisecond)
			if a.err == nil {
				t.Errorf("got %v, want an error", a)
			}
		})
	}
}
