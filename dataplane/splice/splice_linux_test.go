package splice

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// line is a Way from client to server, with both ends in hand.
type line struct {
	client, from, to, server *net.TCPConn
	way                      *Way
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{}
	l.client, l.from = pair(t)
	l.server, l.to = pair(t)
	if l.way = New(l.to, l.from); l.way == nil {
		t.Fatal("got no Way between two TCP connections")
	}
	return l
}

// send waits until the bytes are there to be moved.
func (l *line) send(t *testing.T, b []byte) {
	t.Helper()
	if _, err := l.client.Write(b); err != nil {
		t.Fatal(err)
	}
}

// move moves until so many bytes have.
func (l *line) move(t *testing.T, want, limit int64) {
	t.Helper()
	for total := int64(0); total < want; {
		n, err := l.way.Move(min(want-total, limit))
		if err != nil || n > limit {
			t.Fatalf("moved %d with a limit of %d, %v", n, limit, err)
		}
		total += n
	}
}

// descriptors are how many the process has.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestMove(t *testing.T) {
	l := newLine(t)
	if n, err := l.way.Move(Step); n != 0 || err != nil {
		t.Fatalf("nothing there: moved %d, %v", n, err)
	}
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	read := make(chan []byte)
	go func() {
		got, _ := io.ReadAll(l.server)
		read <- got
	}()
	go func() { _, _ = l.client.Write(text) }()
	before := descriptors(t)
	l.move(t, int64(len(text))-10, Step)
	// Never more than was asked for: what follows is another's.
	l.move(t, 7, 3)
	rest := make([]byte, 10)
	if n, err := l.from.Read(rest); n != 3 || err != nil {
		t.Fatalf("got %d bytes left, %v, want 3", n, err)
	}
	l.client.CloseWrite()
	for {
		n, err := l.way.Move(Step)
		if n == 0 && err == nil {
			continue
		}
		if n != 0 || err != io.EOF {
			t.Fatalf("at the end: moved %d, %v", n, err)
		}
		break
	}
	l.to.Close()
	if got := <-read; !bytes.Equal(got, text[:len(text)-3]) {
		t.Errorf("%d bytes came, want %d, or they differ", len(got), len(text)-3)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, had %d", after, before)
	}
}

// TestStuck: a sink that takes no more holds the mover until its deadline comes, or it is closed; the bytes in between
// are counted, and no pipe with bytes in it is used again.
func TestStuck(t *testing.T) {
	for name, end := range map[string]func(c net.Conn){
		"deadline": func(c net.Conn) { _ = c.SetWriteDeadline(time.Unix(1, 0)) },
		"closed":   func(c net.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t)
			_ = l.to.SetWriteBuffer(4 << 10)
			_ = l.server.SetReadBuffer(4 << 10)
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for {
					if _, err := l.client.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}()
			failed := make(chan error)
			go func() {
				for {
					if _, err := l.way.Move(Step); err != nil {
						failed <- err
						return
					}
				}
			}()
			// It moves as long as the sink reads.
			if _, err := io.ReadFull(l.server, make([]byte, 20_000)); err != nil {
				t.Fatal(err)
			}
			end(l.to)
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			l.client.Close()
			<-stop

			next := newLine(t)
			next.send(t, []byte("fresh"))
			next.move(t, 5, Step)
			got := make([]byte, 10)
			if n, err := next.server.Read(got); string(got[:n]) != "fresh" {
				t.Errorf("got %q, %v: what another left in the pipe", got[:n], err)
			}
		})
	}
}

// TestBrokenOff: a read deadline of the source that has come ends a Move, as it ends a Read.
func TestBrokenOff(t *testing.T) {
	l := newLine(t)
	l.send(t, []byte("x"))
	_ = l.from.SetReadDeadline(time.Unix(1, 0))
	if n, err := l.way.Move(Step); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("moved %d, %v", n, err)
	}
	_ = l.from.SetReadDeadline(time.Time{})
	_ = l.server.SetLinger(0)
	l.server.Close()
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if _, err := l.way.Move(Step); err != nil {
			return
		}
		l.send(t, []byte("x"))
	}
	t.Error("moves to a peer that is gone")
}

func TestUnable(t *testing.T) {
	a, b := pair(t)
	p, q := net.Pipe()
	defer p.Close()
	defer q.Close()
	for name, way := range map[string]*Way{
		"TLS":    New(a, tls.Client(b, &tls.Config{InsecureSkipVerify: true})),
		"pipe":   New(p, a),
		"source": New(a, q),
	} {
		if way != nil {
			t.Errorf("%s: got a Way", name)
		}
	}
	if New(a, struct{ *net.TCPConn }{b}) == nil {
		t.Error("got no Way for a connection that embeds TCP")
	}
}
