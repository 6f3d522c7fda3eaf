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

// keeper carries a request's body upstream, as a pump does, and keeps it, so that it can be sent again. It reads the body
// once, in a goroutine of its own unless it is all here, and writes to whichever exchange is attached.
type keeper struct {
	// pump is what the exchange knows of it: why.
	pump
	limit int
	// reading: the goroutine that reads was started. Only who serves.
	reading bool
	// replays are those that write what was kept.
	replays sync.WaitGroup
	// sent: what is attached has all of the body.
	sent atomic.Bool

	// inline: who serves reads, and waits for nobody.
	inline bool

	// mu is held while the upstream is written to: who attaches another breaks the former off first.
	mu   sync.Mutex
	turn sync.Cond
	// All below is guarded by mu. ended: the body was read to its end. stopped: nobody wants it any more.
	ended, stopped bool
	// to is who it goes to; nil is nobody.
	to upstream.Exchange
	// kept is what was read so far, unless it was too much.
	kept []byte

	// keep guards lost and held, and is never held for long. lost: there was more than limit. held: it is to be sent again,
	// so that nothing may be lost any more.
	keep       sync.Mutex
	lost, held bool
}

func newKeeper(x *exchange, limit int) *keeper {
	k := &keeper{limit: limit}
	k.x = x
	k.turn.L = &k.mu
	return k
}

// attach sends what was kept to an exchange whose head was written, and from then on whatever comes.
func (k *keeper) attach(up upstream.Exchange) {
	k.sent.Store(false)
	k.ending.Store(false)
	k.keep.Lock()
	k.held = false
	k.keep.Unlock()
	k.mu.Lock()
	k.to = up
	switch {
	case !k.reading:
		k.reading = true
		k.mu.Unlock()
		if k.x.bodyHere() {
			k.inline = true
			k.read()
			return
		}
		k.done = make(chan struct{})
		go func() {
			defer close(k.done)
			k.read()
		}()
	case k.ended && len(k.kept) <= bufferSizes[1]:
		k.replay()
		k.mu.Unlock()
	default:
		// The answer may come before the upstream has read it all.
		k.replays.Go(func() {
			defer k.mu.Unlock()
			k.replay()
		})
	}
}

// replay sends what was kept. mu is held.
func (k *keeper) replay() {
	if _, err := k.to.Write(k.kept); err != nil {
		// The answer tells why, if one comes.
		k.to = nil
		return
	}
	if k.ended {
		k.end()
		return
	}
	if k.to.Flush() != nil {
		k.to = nil
		return
	}
	k.turn.Signal()
}

// end ends the body. mu is held.
func (k *keeper) end() {
	k.ending.Store(true)
	if k.to.End(k.x.req.Trailer) == nil {
		k.sent.Store(true)
		k.x.tryBegins()
	}
}

// read reads the body to its end.
func (k *keeper) read() {
	x := k.x
	buf := getBuffer(x.req.ContentLength)
	defer func() { putBuffer(buf) }()
	ahead, _ := x.s.(interface{ Buffered() int })
	if ahead == nil || ahead.Buffered() == 0 {
		// The upstream learns of the request before the client has sent its body: it may refuse it.
		k.mu.Lock()
		if k.to != nil && k.to.Flush() != nil {
			k.to = nil
		}
		k.mu.Unlock()
	}
	for {
		n, err := x.s.Read(*buf)
		if !k.take((*buf)[:n], err, ahead != nil && ahead.Buffered() > 0) {
			return
		}
		if n == len(*buf) {
			buf = grow(buf)
		}
	}
}

// take keeps what was read, and sends it; more: there is more to read without waiting. It tells whether to read on, and
// waits while there is nobody to send to: what is kept grows no further meanwhile.
func (k *keeper) take(p []byte, err error, more bool) bool {
	x := k.x
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(p) > 0 {
		x.received += int64(len(p))
		x.touch()
		x.copyTo(p)
		if k.tooMuch(len(k.kept) + len(p)) {
			k.kept = nil
		} else {
			k.kept = append(k.kept, p...)
		}
		if k.to != nil {
			if _, sendErr := k.to.Write(p); sendErr != nil {
				k.to = nil
			}
		}
	}
	switch {
	case err == io.EOF:
		k.ended = true
		x.endMirrors(x.req.Trailer, io.EOF)
		x.requestEnded()
		if k.to != nil {
			k.end()
		}
		return false
	case err != nil:
		var why *failure.Error
		if !errors.As(err, &why) {
			why = failure.New(failure.ClientGone, err)
		}
		k.why.Store(why)
		if k.to != nil {
			k.to.Close(false)
		}
		return false
	case k.to != nil && !more && k.to.Flush() != nil:
		k.to = nil
	}
	for k.to == nil && !k.stopped && !k.inline {
		k.turn.Wait()
	}
	return !k.stopped
}

// detach ends the sending to an exchange, and tells whether that has all of the body.
func (k *keeper) detach(up upstream.Exchange) bool {
	if !k.sent.Load() && !k.ending.Load() {
		// It was answered before the body was sent, or failed.
		up.Close(false)
	}
	k.mu.Lock()
	k.to = nil
	k.mu.Unlock()
	k.replays.Wait()
	return k.sent.Load()
}

// tooMuch tells whether so many bytes are more than is kept, and then they are lost. mu is held.
func (k *keeper) tooMuch(n int) bool {
	k.keep.Lock()
	defer k.keep.Unlock()
	if n > k.limit && k.to != nil && !k.held {
		k.lost = true
	}
	return k.lost
}

// hold tells whether all that was read is here, and sees to it that it stays so until something is attached.
func (k *keeper) hold() bool {
	k.keep.Lock()
	defer k.keep.Unlock()
	k.held = !k.lost
	return k.held
}

// stop ends the reading: nobody waits for the body any more.
func (k *keeper) stop() {
	k.mu.Lock()
	k.stopped = true
	k.turn.Signal()
	ended := k.ended
	k.mu.Unlock()
	if k.done == nil {
		return
	}
	if !ended {
		_ = k.x.s.SetReadDeadline(time.Unix(1, 0))
	}
	<-k.done
}
