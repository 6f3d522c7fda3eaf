// Package demo is a small upstream for trying things out: it names itself, and tells what it saw.
//
// In: a listening socket. Out: answers. It must not know Sluice.
package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// maxBody is how many bytes of a request's body are read and counted.
const maxBody = 64 << 20

// Reply is what an HTTP answer says, as JSON for those who accept it, else as text.
type Reply struct {
	Name    string              `json:"name"`
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Host    string              `json:"host"`
	Headers map[string][]string `json:"headers"`
	// Body is how many bytes the request's body had.
	Body int64 `json:"body"`
}

// Handler answers every request with what it saw. Every answer carries X-Upstream: the name.
func Handler(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply := Reply{Name: name, Method: r.Method, Path: r.RequestURI, Host: r.Host, Headers: r.Header, Body: n}
		w.Header().Set("X-Upstream", name)
		if strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			encoder := json.NewEncoder(w)
			encoder.SetIndent("", "  ")
			_ = encoder.Encode(reply)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, reply.text())
	})
}

func (r *Reply) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Hello from %s\n%s %s\nHost: %s\n", r.Name, r.Method, r.Path, r.Host)
	names := make([]string, 0, len(r.Headers))
	for name := range r.Headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range r.Headers[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String()
}

// ServeHTTP serves HTTP/1.1, and HTTP/2 with prior knowledge, until ctx ends; requests in flight have 5 s to finish.
func ServeHTTP(ctx context.Context, l net.Listener, name string) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: Handler(name), Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(limit)
	})
	err := server.Serve(l)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if err := <-done; err != nil {
		return server.Close()
	}
	return nil
}

// ServeTCP answers every line with "NAME: " and the line, until ctx ends.
func ServeTCP(ctx context.Context, l net.Listener, name string) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				if _, err := fmt.Fprintf(c, "%s: %s\n", name, lines.Text()); err != nil {
					return
				}
			}
		})
	}
}
