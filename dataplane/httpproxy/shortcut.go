package httpproxy

import (
	"errors"
	"net"

	"github.com/sluice-proxy/sluice/dataplane/splice"
)

// large is a body from which on it pays to move it from socket to socket in the kernel, in bytes (measured: at 64 KiB it
// does not).
const large = 256 << 10

// tail is left to Read and Write, which know what to do at a body's end.
const tail = 16 << 10

// source and sink are the sides of a body that can be moved below their codecs; HTTP/1's are.
type source interface {
	Source() (conn net.Conn, left int64)
	TookFrom(n int64)
}

type sink interface {
	Sink() (conn net.Conn, left int64, err error)
	GaveTo(n int64, err error) error
}

// shortcut moves a large body, if both sides can: plain connections, and a length on both. The zero value never does.
type shortcut struct {
	from source
	to   sink
	way  *splice.Way
	// Each step is counted, and keeps the exchange awake.
	x     *exchange
	count *int64
}

// shorten looks for a shortcut for a body of a length, -1 for unknown.
func (x *exchange) shorten(to, from any, length int64, count *int64) (s shortcut) {
	if length < large {
		return s
	}
	source, ok := from.(source)
	sink, ok2 := to.(sink)
	if ok && ok2 {
		s = shortcut{from: source, to: sink, x: x, count: count}
	}
	return s
}

// run moves what is there; it does not wait for more, which Read does. Its error is the sink's, as Write would give it:
// what fails at the source, Read tells too.
func (s *shortcut) run() error {
	if s.from == nil {
		return nil
	}
	for {
		from, left := s.from.Source()
		if left <= tail {
			return nil
		}
		to, room, err := s.to.Sink()
		if err != nil {
			return err
		}
		if room < left { // a length that is wrong, which Write tells
			return nil
		}
		if s.way == nil {
			if s.way = splice.New(to, from); s.way == nil {
				s.from = nil
				return nil
			}
		}
		n, err := s.way.Move(left - tail)
		if n > 0 {
			s.from.TookFrom(n)
			*s.count += n
			s.x.touch()
		}
		var failed *splice.SinkError
		if !errors.As(err, &failed) {
			if sendErr := s.to.GaveTo(n, nil); sendErr != nil || n == 0 || err != nil {
				return sendErr
			}
			continue
		}
		return s.to.GaveTo(n, err)
	}
}
