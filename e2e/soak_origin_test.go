package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// startOrigin is an HTTP/1.1 origin that does what each request's plan says.
func (s *soak) startOrigin() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				r := bufio.NewReader(c)
				for s.originOne(c, r) {
				}
				end(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	s.t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// planOf is the plan of a request that came to an origin; what came must be what a client sent.
func (s *soak) planOf(r *http.Request) (plan, bool) {
	p, err := parsePlan(r.Header.Get("x-plan"))
	if err != nil {
		s.fault("an origin got a request that no client sent: %s %s, x-plan %q: %v", r.Method, r.RequestURI, r.Header.Get("x-plan"), err)
		return p, false
	}
	return p, true
}

// body reads a request's body. What came must be the request's own, and all of it unless it was cut.
func (s *soak) body(p plan, r *http.Request) bool {
	own := &ownReader{plan: p}
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Body.Read(buf)
		if !own.take(buf[:n]) {
			s.fault("an origin got another request's body with %v", p)
			return false
		}
		if err == io.EOF {
			if own.n != max(0, p.sent) {
				s.fault("an origin took %d bytes for the whole body of %v", own.n, p)
			}
			return true
		}
		if err != nil {
			return false
		}
	}
}

// originOne is one request; false ends the connection.
func (s *soak) originOne(c net.Conn, r *bufio.Reader) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	p, ok := s.planOf(req)
	if !ok {
		return false
	}
	if p.act != "early" && !s.body(p, req) || p.act == "refuse" {
		return false
	}
	if p.act == "never" {
		_, _ = r.Peek(1)
		return false
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Token: %016x\r\n", p.token)
	chunked := p.chunked
	switch {
	case p.act == "until":
		chunked = false
	case chunked:
		head += "Transfer-Encoding: chunked\r\n"
	default:
		head += fmt.Sprintf("Content-Length: %d\r\n", p.size)
	}
	head += "\r\n"
	if p.act == "head" {
		_, _ = io.WriteString(c, head[:p.at%len(head)])
		return false
	}
	w := bufio.NewWriterSize(c, 32<<10)
	_, _ = w.WriteString(head)
	size := p.size
	if p.act == "body" {
		size = min(p.at, p.size-1)
	}
	if req.Method != "HEAD" {
		for from := 0; from < size; {
			b := p.own(make([]byte, min(size-from, 1+int(p.token>>8)%5000)), from)
			from += len(b)
			if chunked {
				fmt.Fprintf(w, "%x\r\n%s\r\n", len(b), b)
			} else {
				_, _ = w.Write(b)
			}
		}
		if p.act == "body" {
			_ = w.Flush()
			return false
		}
		if chunked {
			_, _ = w.WriteString("0\r\n\r\n")
		}
	}
	if w.Flush() != nil {
		return false
	}
	switch p.act {
	case "until":
		// An RST could overtake the end of the body, and a cut body of this kind looks like a whole one.
		c.Close()
		return false
	case "close", "early", "body":
		return false
	}
	return true
}

// startH2Origin is an HTTP/2 origin with prior knowledge: an answer that breaks off is a stream's reset, or sometimes the
// end of its connection with all that is on it.
func (s *soak) startH2Origin() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	type key struct{}
	server := &http.Server{
		Protocols:   new(http.Protocols),
		ErrorLog:    log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := s.planOf(r)
			abort := func() {
				if p.token%16 == 0 {
					end(r.Context().Value(key{}).(net.Conn))
				}
				panic(http.ErrAbortHandler)
			}
			if !ok || p.act != "early" && !s.body(p, r) || p.act == "refuse" || p.act == "head" {
				abort()
			}
			if p.act == "never" {
				<-r.Context().Done()
				return
			}
			w.Header().Set("x-token", fmt.Sprintf("%016x", p.token))
			if !p.chunked {
				w.Header().Set("content-length", fmt.Sprint(p.size))
			}
			size := p.size
			if p.act == "body" {
				size = min(p.at, p.size-1)
			}
			if r.Method != "HEAD" {
				for from := 0; from < size; {
					n, err := w.Write(p.own(make([]byte, min(size-from, 1+int(p.token>>8)%5000)), from))
					if from += n; err != nil {
						return
					}
				}
			}
			if p.act == "body" {
				_ = http.NewResponseController(w).Flush()
				abort()
			}
			if p.act == "close" && p.token%16 == 0 {
				_ = http.NewResponseController(w).Flush()
				end(r.Context().Value(key{}).(net.Conn))
			}
		}),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
		<-done
	})
	return l.Addr().String()
}
