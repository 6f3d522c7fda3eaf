package tcpproxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/alarm"
	"github.com/sluice-proxy/sluice/dataplane/socket"
	"github.com/sluice-proxy/sluice/dataplane/splice"
)

// pipe carries bytes both ways between two connections.
type pipe struct {
	down, up net.Conn
	// idle ends it when neither way has moved a byte for so long; 0 is never.
	idle  time.Duration
	idled atomic.Bool
	// active is when a byte last moved, in Unix nanoseconds.
	active atomic.Int64
}

// run returns when both ways have ended. upward and downward count bytes from the client and to it.
func (p *pipe) run(upward, downward func(int64)) {
	if p.idle > 0 {
		p.touch()
		watch := alarm.New(p.look)
		watch.Set(time.Now().Add(p.idle))
		defer watch.Stop()
	}
	var ended sync.WaitGroup
	ended.Go(func() { p.way(p.up, p.down, upward) })
	p.way(p.down, p.up, downward)
	ended.Wait()
}

// look ends a pipe that is silent; it returns when to look again.
func (p *pipe) look() (next time.Time) {
	if next = time.Unix(0, p.active.Load()).Add(p.idle); time.Now().Before(next) {
		return next
	}
	// Also when a way waits for a peer that does not read.
	p.idled.Store(true)
	p.close()
	return time.Time{}
}

func (p *pipe) touch() { p.active.Store(time.Now().UnixNano()) }

func (p *pipe) close() {
	p.down.Close()
	p.up.Close()
}

// way carries one way: its end is a half-close, its failure the end of both.
func (p *pipe) way(to, from net.Conn, count func(int64)) {
	err := p.carry(to, from, count)
	if err == io.EOF {
		err = closeWrite(to)
	}
	if err != nil {
		p.close()
	}
}

// bulk is how many reads in a row fill their buffer before a way is spliced: a few bytes are cheaper to copy.
const bulk = 4

func (p *pipe) carry(to, from net.Conn, count func(int64)) error {
	moved := func(n int64) {
		if n > 0 {
			count(n)
			if p.idle > 0 {
				p.touch()
			}
		}
	}
	// What was read ahead goes first; what is below can be spliced.
	if ahead, ok := from.(interface{ Detach() ([]byte, net.Conn) }); ok {
		var first []byte
		first, from = ahead.Detach()
		if len(first) > 0 {
			n, err := to.Write(first)
			moved(int64(n))
			if err != nil {
				return err
			}
		}
	}
	source, sink := newSource(socket.Wrap(plain(from))), socket.Wrap(plain(to))
	defer source.release()
	var way *splice.Way
	for full := 0; ; {
		b, err := source.read()
		if len(b) > 0 {
			n, err := sink.Write(b)
			moved(int64(n))
			if err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if full++; len(b) < bufferSize {
			full = 0
		}
		if full < bulk {
			continue
		}
		if way == nil {
			if way = splice.New(sink, source.conn); way == nil {
				full = -1 << 30 // it will never be
				continue
			}
		}
		source.release()
		for {
			n, err := way.Move(splice.Step)
			moved(n)
			if errors.Is(err, errors.ErrUnsupported) {
				full = 0
				break
			}
			if err != nil {
				return err
			}
			if n == 0 {
				full = bulk - 1 // it goes on being spliced when the next read fills its buffer
				break
			}
		}
	}
}

// plain is the connection whose bytes are the same: below what counts or reads ahead, not below TLS.
func plain(c net.Conn) net.Conn {
	for {
		if _, secure := c.(interface{ ConnectionState() tls.ConnectionState }); secure {
			return c
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = below.NetConn()
	}
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	if below := plain(c); below != c {
		return closeWrite(below)
	}
	// No half-close: the whole must end.
	return c.Close()
}
