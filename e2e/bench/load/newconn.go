package load

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// NewConnections makes TLS connections by a number of workers for a time, each for one request of HTTP/1.1, whose
// answer has a body of size bytes. With resume each worker's sessions are resumed (the first of each is not counted).
func NewConnections(addr string, s Secure, request []byte, size int, workers int, resume bool, d time.Duration) (Stages, error) {
	w := &newcomers{addr: addr, request: request, size: size, resume: resume}
	var wg sync.WaitGroup
	ready := make(chan struct{})
	errs := make([]error, workers)
	counts := make([]int64, workers)
	var warm sync.WaitGroup
	for i := range workers {
		warm.Add(1)
		wg.Go(func() {
			config := s.config()
			if resume {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			errs[i] = w.one(config, false)
			warm.Done()
			<-ready
			for begin := time.Now(); errs[i] == nil && time.Since(begin) < d; counts[i]++ {
				errs[i] = w.one(config, resume)
			}
		})
	}
	warm.Wait()
	return Stages{run: func() (int64, error) {
		close(ready)
		wg.Wait()
		total := int64(0)
		for _, n := range counts {
			total += n
		}
		if err := errors.Join(errs...); err != nil {
			return 0, fmt.Errorf("load: new connections: %w", err)
		}
		return total, nil
	}}, nil
}

// Stages is a load that is warm and waits.
type Stages struct{ run func() (int64, error) }

// Run runs it, once, and returns how many requests were answered.
func (s Stages) Run() (int64, error) { return s.run() }

type newcomers struct {
	addr    string
	request []byte
	size    int
	resume  bool
}

// one makes a connection, asks, and closes. resumed tells that the session must have been resumed.
func (w *newcomers) one(config *tls.Config, resumed bool) error {
	conn, _, err := handshake(w.addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if got := conn.ConnectionState().DidResume; got != resumed {
		return fmt.Errorf("session resumed: %v, want %v", got, resumed)
	}
	if _, err := conn.Write(w.request); err != nil {
		return err
	}
	var b [2048]byte
	for n := 0; ; {
		m, err := conn.Read(b[n:])
		n += m
		if end := bytes.Index(b[:n], headEnd); end >= 0 && n >= end+4+w.size {
			if !bytes.HasPrefix(b[:], status200) {
				return fmt.Errorf("answer %q, want status 200", b[:n])
			}
			return nil
		}
		if err != nil || n == len(b) {
			return fmt.Errorf("answer %q: %w", b[:n], errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
}
