// Package origin is the server behind the proxies that are measured. It costs little, and is the same for all of them.
//
// In: addresses to listen on. Out: answers of fixed bytes. It knows just enough of each protocol to see where a message
// ends; that proxies send what they should is for the tests of e2e.
package origin

import (
	"fmt"

	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// Addresses are where the origin listens, all on loopback.
type Addresses struct {
	// HTTP1 answers HTTP/1.1: /b/N with N bytes, any other path with 128. Bodies are read to their end.
	HTTP1 string
	// HTTP2 and GRPC answer HTTP/2 with prior knowledge: each stream with 128 bytes, and with a reply of gRPC.
	HTTP2, GRPC string
	// Echo sends back what it gets.
	Echo string
}

// Serve answers for ever.
func Serve(a Addresses) error {
	l, err := loop.New()
	if err != nil {
		return err
	}
	defer l.Close()
	for addr, handler := range map[string]func() loop.Handler{
		a.HTTP1: func() loop.Handler { return &http1{} },
		a.HTTP2: func() loop.Handler { return newHTTP2(plainAnswer()) },
		a.GRPC:  func() loop.Handler { return newHTTP2(grpcAnswer()) },
		a.Echo:  func() loop.Handler { return &echo{} },
	} {
		if err := l.Listen(addr, handler); err != nil {
			return fmt.Errorf("origin: %w", err)
		}
	}
	return l.Run(func() bool { return false })
}

// scratch is what all connections read into: one goroutine serves them.
var scratch [256 << 10]byte

// echo sends back what it gets, and reads nothing while that waits.
type echo struct{ rest []byte }

func (e *echo) Readable(c *loop.Conn) error {
	if c.Pending() {
		return nil
	}
	n, err := c.Read(scratch[:])
	if err == loop.Again {
		return nil
	}
	if err != nil {
		return err
	}
	sent, err := c.Send(scratch[:n])
	if err != nil || sent == n {
		return err
	}
	e.rest = append(e.rest[:0], scratch[sent:n]...)
	if _, err := c.Write(e.rest); err != nil {
		return err
	}
	return c.PauseUntilWritten()
}

func (e *echo) Closed(*loop.Conn, error) {}
