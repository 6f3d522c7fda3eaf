package httpproxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// Buffers for bodies. The first is small, since most bodies are; who fills it gets the next size. From 64 KiB on
// copying costs no less with a larger one.
var bufferSizes = [...]int{4 << 10, 16 << 10, 64 << 10}

var buffers = func() (pools [len(bufferSizes)]*sync.Pool) {
	for i, size := range bufferSizes {
		pools[i] = &sync.Pool{New: func() any {
			b := make([]byte, size)
			return &b
		}}
	}
	return pools
}()

// getBuffer is a buffer for a body of a length, -1 for unknown.
func getBuffer(length int64) *[]byte {
	size := 1
	switch {
	case length >= 0 && length <= int64(bufferSizes[0]):
		size = 0
	case length >= int64(bufferSizes[2])/2:
		size = 2
	}
	return buffers[size].Get().(*[]byte)
}

func putBuffer(b *[]byte) {
	for i, size := range bufferSizes {
		if len(*b) == size {
			buffers[i].Put(b)
		}
	}
}

// grow exchanges a buffer for one of the largest size.
func grow(b *[]byte) *[]byte {
	last := len(bufferSizes) - 1
	if len(*b) == bufferSizes[last] {
		return b
	}
	putBuffer(b)
	return buffers[last].Get().(*[]byte)
}

// pump carries a request's body upstream, in a goroutine of its own, since the answer may come meanwhile.
type pump struct {
	x  *exchange
	up upstream.Exchange
	// done is closed when it has ended.
	done chan struct{}
	// why is a failure on the client's side; it is set before the upstream exchange is broken off for it.
	why atomic.Pointer[failure.Error]
	// ending: the body has been read to its end, and its last bytes are being sent.
	ending atomic.Bool
	// whole: the body was sent to its end. Set before done.
	whole bool
}

// startBody sends the head and the body. A body that is here already is sent at once, and there is no pump.
func (x *exchange) startBody(up upstream.Exchange) (*pump, *failure.Error) {
	if err := up.WriteRequest(x.req, false); err != nil {
		return nil, x.because(err)
	}
	p := &pump{x: x, up: up}
	x.pump = p
	if x.bodyHere() {
		p.run()
		if p.why.Load() != nil {
			return nil, x.because(nil)
		}
		return nil, nil
	}
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.run()
	}()
	return p, nil
}

// bodyHere tells whether the request's body can be read to its end without waiting, and is small enough that a socket
// takes it.
func (x *exchange) bodyHere() bool {
	switch s := x.s.(type) {
	case interface {
		Whole() bool
		Buffered() int
	}:
		return s.Whole() && s.Buffered() <= bufferSizes[1]
	case interface{ Buffered() int }:
		return x.req.ContentLength > 0 && int64(s.Buffered()) >= x.req.ContentLength
	}
	return false
}

func (p *pump) run() {
	x := p.x
	buf := getBuffer(x.req.ContentLength)
	defer func() { putBuffer(buf) }()
	ahead, _ := x.s.(interface{ Buffered() int })
	var short shortcut
	if len(x.mirrors) == 0 { // copies are made of what comes by here
		short = x.shorten(p.up, x.s, x.req.ContentLength, &x.received)
	}
	first := true
	for {
		if first && (ahead == nil || ahead.Buffered() == 0) {
			// The upstream learns of the request before the client has sent its body: it may refuse it.
			if p.up.Flush() != nil {
				return
			}
		}
		first = false
		if short.run() != nil {
			return // as below
		}
		n, err := x.s.Read(*buf)
		if err == io.EOF {
			p.ending.Store(true)
		}
		if n > 0 {
			x.received += int64(n)
			x.touch()
			x.copyTo((*buf)[:n])
			if _, sendErr := p.up.Write((*buf)[:n]); sendErr != nil {
				// The answer tells why, if one comes.
				return
			}
		}
		switch {
		case err == io.EOF:
			x.endMirrors(x.req.Trailer, io.EOF)
			if p.up.End(x.req.Trailer) == nil {
				p.whole = true
			}
			x.requestEnded()
			return
		case err != nil:
			var why *failure.Error
			if !errors.As(err, &why) {
				why = failure.New(failure.ClientGone, err)
			}
			p.why.Store(why)
			p.up.Close(false)
			return
		}
		if ahead == nil || ahead.Buffered() == 0 {
			if p.up.Flush() != nil {
				return
			}
			if n == len(*buf) {
				buf = grow(buf)
			}
		}
	}
}

// requestEnded starts the route's timeout.
func (x *exchange) requestEnded() {
	now := time.Now()
	x.bodyEnd.Store(int64(now.Sub(x.start)))
	if x.routeTimeout > 0 && x.cause.Load() == 0 {
		x.alarm.Set(x.next(now))
	}
}

// stop ends the pump, and tells whether it sent all of the body. An answer that came to its end before the request
// did leaves nothing to send it for: reading goes no further, and neither connection can be used again.
func (p *pump) stop() bool {
	select {
	case <-p.done:
		return p.whole
	default:
	}
	if p.ending.Load() {
		// The upstream had all of it, and was faster to answer than we are to notice.
		<-p.done
		return p.whole
	}
	p.up.Close(false)
	_ = p.x.s.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	return false
}
