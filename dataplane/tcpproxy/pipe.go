package tcpproxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pipe carries bytes both ways between two connections.
type pipe struct {
	down, up net.Conn
	// idle ends it when neither way has moved a byte for so long; 0 is never.
	idle  time.Duration
	idled atomic.Bool
	// active is when a byte last moved, in Unix nanoseconds.
	active atomic.Int64
	// slice is how often a spliced way comes up to be counted: with splice(2) its bytes do not pass by here. The idle
	// timeout is late by this much at most.
	slice time.Duration
}

const (
	minSlice = 5 * time.Millisecond
	maxSlice = 10 * time.Second
)

// run returns when both ways have ended. upward and downward count bytes from the client and to it.
func (p *pipe) run(upward, downward func(int64)) {
	p.touch()
	p.slice = maxSlice
	stop := make(chan struct{})
	var ways sync.WaitGroup
	if p.idle > 0 {
		p.slice = min(max(p.idle/8, minSlice), maxSlice)
		ways.Go(func() { p.watch(stop) })
	}
	var upwardEnded sync.WaitGroup
	upwardEnded.Go(func() { p.way(p.up, p.down, upward) })
	p.way(p.down, p.up, downward)
	upwardEnded.Wait()
	close(stop)
	ways.Wait()
}

func (p *pipe) touch() { p.active.Store(time.Now().UnixNano()) }

// watch closes both sides after the idle timeout, also when a way waits for a peer that does not read.
func (p *pipe) watch(stop <-chan struct{}) {
	timer := time.NewTimer(p.idle)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		quiet := time.Duration(time.Now().UnixNano() - p.active.Load())
		if quiet >= p.idle {
			p.idled.Store(true)
			p.down.Close()
			p.up.Close()
			return
		}
		timer.Reset(max(p.idle-quiet, p.slice))
	}
}

// way carries one way: its end is a half-close, its failure the end of both.
func (p *pipe) way(to, from net.Conn, count func(int64)) {
	err := p.carry(to, from, count)
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil {
		p.down.Close()
		p.up.Close()
	}
}

func (p *pipe) carry(to, from net.Conn, count func(int64)) error {
	moved := func(n int64) {
		if n > 0 {
			count(n)
			p.touch()
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
	source, canRead := plain(from).(tcp)
	sink, canWrite := plain(to).(tcp)
	if !canRead || !canWrite {
		return shovel(to, from, moved)
	}
	for {
		if err := source.SetReadDeadline(time.Now().Add(p.slice)); err != nil {
			return err
		}
		// From one *net.TCPConn to another this is splice(2), also where either is embedded.
		n, err := source.WriteTo(sink)
		moved(n)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// tcp is a *net.TCPConn, or what embeds one.
type tcp interface {
	net.Conn
	io.ReaderFrom
	io.WriterTo
	SetNoDelay(bool) error
}

// plain is the connection whose bytes are the same: below what counts or reads ahead, not below TLS.
func plain(c net.Conn) net.Conn {
	for {
		if _, secure := c.(*tls.Conn); secure {
			return c
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = below.NetConn()
	}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// shovel copies through a buffer.
func shovel(to io.Writer, from io.Reader, moved func(int64)) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			written, writeErr := to.Write((*buffer)[:n])
			moved(int64(written))
			if writeErr != nil {
				return writeErr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
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
