package http2

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestChaos: whatever clients and handlers do to streams, at random, a connection goes on, its window is credited to the
// end, and nothing is left of it (goleak, and ServeConn's return).
func TestChaos(t *testing.T) {
	for seed := range uint64(20) {
		chaos(t, rand.New(rand.NewPCG(seed, 7)))
	}
}

func chaos(t *testing.T, random *rand.Rand) {
	var mu sync.Mutex
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	r := dialRaw(t, ServerOptions{InitialConnectionWindow: initialWindow, InitialStreamWindow: 20_000}, func(s *ServerStream) {
		s.OnGone(func() {})
		defer s.StopGone()
		buf := make([]byte, 1+roll(3000))
		for range roll(4) {
			_, _ = s.Read(buf)
		}
		switch roll(6) {
		case 0:
			return
		case 1:
			s.Reset()
			return
		case 2:
			panic("chaos")
		case 3:
			var other sync.WaitGroup
			other.Go(s.Reset)
			defer other.Wait()
		}
		if roll(3) == 0 {
			if _, err := io.ReadAll(s); err != nil {
				return
			}
		}
		_ = s.Respond(&message.Response{Status: 200, Header: message.Header{{Name: "x", Value: "y"}}}, false)
		for range roll(5) {
			_, _ = s.Write(buf)
			_ = s.Flush()
		}
		_ = s.End(s.Request().Trailer)
	})
	_ = r.WriteSettingsAck()
	left, gone, pong := initialWindow, false, make(chan struct{}, 1)
	cond := sync.NewCond(&mu)
	go func() {
		defer func() { mu.Lock(); gone = true; cond.Broadcast(); mu.Unlock(); close(pong) }()
		for {
			f, err := r.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *xhttp2.WindowUpdateFrame:
				if f.StreamID == 0 {
					mu.Lock()
					left += int(f.Increment)
					cond.Broadcast()
					mu.Unlock()
				}
			case *xhttp2.GoAwayFrame:
				t.Errorf("GOAWAY %v %s", f.ErrCode, f.DebugData())
				return
			case *xhttp2.PingFrame:
				pong <- struct{}{}
			}
		}
	}()
	for id := uint32(1); id < 400; id += 2 {
		whole := roll(4) == 0
		r.headers(id, whole, request("POST", "/")...)
		for range roll(4) {
			if whole {
				break
			}
			n := roll(5000)
			mu.Lock()
			for left < n && !gone {
				cond.Wait()
			}
			left -= n
			mu.Unlock()
			_ = r.WriteData(id, false, make([]byte, n))
		}
		switch action := roll(4); {
		case whole && action > 0:
		case action == 0:
			_ = r.WriteRSTStream(id, xhttp2.ErrCodeCancel)
		case action == 1:
			_ = r.WriteData(id, true, nil)
		case action == 2:
			r.headers(id, true, "x-sum", "1")
		}
		_ = r.WriteWindowUpdate(0, uint32(1+roll(20_000)))
		_ = r.WritePing(false, [8]byte{})
		<-pong
	}
	// What is not credited by then is less than half: the rest is owed, not lost.
	for id := uint32(1); id < 400; id += 2 {
		_ = r.WriteRSTStream(id, xhttp2.ErrCodeCancel)
		if id%40 == 1 {
			_ = r.WritePing(false, [8]byte{})
			<-pong
		}
	}
	mu.Lock()
	for left <= initialWindow/2 && !gone {
		cond.Wait()
	}
	if gone {
		t.Error("the connection ended")
	}
	mu.Unlock()
	r.conn.Close()
}
