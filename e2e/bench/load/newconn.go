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

// Newcomers make TLS connections by a number of workers, each for one request of HTTP/1.1.
type Newcomers struct {
	addr    string
	request []byte
	size    int
	workers []*tls.Config
	resume  bool
}

// NewConnections makes them; an answer has a body of size bytes. With resume each worker resumes its last session.
func NewConnections(addr string, s Secure, request []byte, size int, workers int, resume bool) (*Newcomers, error) {
	w := &Newcomers{addr: addr, request: request, size: size, resume: resume}
	for range workers {
		config := s.config()
		if resume {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		if err := w.one(config, false); err != nil {
			return nil, fmt.Errorf("load: new connections: %w", err)
		}
		w.workers = append(w.workers, config)
	}
	return w, nil
}

// Run makes connections for a time. It returns how many were made and served, and how long that took.
func (w *Newcomers) Run(d time.Duration) (done int64, took time.Duration, err error) {
	begin := time.Now()
	errs := make([]error, len(w.workers))
	counts := make([]int64, len(w.workers))
	var wg sync.WaitGroup
	for i, config := range w.workers {
		wg.Go(func() {
			for ; errs[i] == nil && time.Since(begin) < d; counts[i]++ {
				errs[i] = w.one(config, w.resume)
			}
		})
	}
	wg.Wait()
	for _, n := range counts {
		done += n
	}
	if err := errors.Join(errs...); err != nil {
		return 0, 0, fmt.Errorf("load: new connections: %w", err)
	}
	return done, time.Since(begin), nil
}

// Close has nothing to close.
func (w *Newcomers) Close() {}

// one makes a connection, asks, and closes. resumed tells that the session must have been resumed.
func (w *Newcomers) one(config *tls.Config, resumed bool) error {
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
