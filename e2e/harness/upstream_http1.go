package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveHTTP1 reads requests byte by byte as they came, so that a test sees the proxy's own framing and spelling.
func (u *Upstream) serveHTTP1(c net.Conn) {
	r := bufio.NewReader(c)
	w := bufio.NewWriter(c)
	for {
		s, keep, err := u.exchange(c, r, w)
		if err != nil && !errors.Is(err, io.EOF) && s != nil && s.Get("x-echo-upgrade") == "" {
			u.update(func() { s.Broken = err.Error() })
		}
		if w.Flush() != nil || err != nil || !keep {
			return
		}
	}
}

// exchange is one request and its answer. s is nil if the connection ended before a request.
func (u *Upstream) exchange(c net.Conn, r *bufio.Reader, w *bufio.Writer) (s *Seen, keep bool, err error) {
	first, err := line(r)
	if err != nil {
		return nil, false, err
	}
	s = &Seen{Upstream: u.Name, Proxy: said(c)}
	s.secured(c)
	parts := strings.Split(first, " ")
	if len(parts) != 3 {
		u.add(s)
		return s, false, fmt.Errorf("request line %q", first)
	}
	if first == "PRI * HTTP/2.0" {
		// HTTP/2's preface, which servers of HTTP/1.1 take for a bad request.
		fmt.Fprint(w, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		// What is left unread when a socket closes resets the connection, and takes the answer along.
		_ = w.Flush()
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_ = c.SetReadDeadline(time.Now().Add(Patience))
		_, _ = io.Copy(io.Discard, r)
		return nil, false, nil
	}
	s.Method, s.Path, s.Proto = parts[0], parts[1], parts[2]
	fields, err := headerLines(r)
	if err != nil {
		u.add(s)
		return s, false, err
	}
	hosts := 0
	for _, f := range fields {
		if strings.EqualFold(f.Name, "host") {
			s.Authority = f.Value
			hosts++
			continue
		}
		s.Header = append(s.Header, f)
	}
	if state, ok := u.check(s); ok {
		return s, u.answerCheck(w, state, s.Method), nil
	}
	p, err := u.plan(s)
	if err == nil && hosts != 1 {
		err = fmt.Errorf("%d Host headers", hosts)
	}
	u.add(s)
	if err != nil {
		return s, false, err
	}
	if p.early {
		// The answer goes first; the body is read after it, or never comes.
		if keep, err = u.answer(w, s, p); err != nil || !keep {
			return s, keep, err
		}
		_ = w.Flush()
		return s, keep, u.readBody(r, s)
	}
	if strings.EqualFold(s.Get("expect"), "100-continue") {
		fmt.Fprint(w, "HTTP/1.1 100 Continue\r\n\r\n")
		_ = w.Flush()
	}
	if err := u.readBody(r, s); err != nil {
		return s, false, err
	}
	u.update(func() { s.Whole = true })
	if p.upgrade && s.Get("upgrade") != "" {
		return s, false, u.upgrade(r, w, s, p)
	}
	keep, err = u.answer(w, s, p)
	return s, keep, err
}

func (u *Upstream) readBody(r *bufio.Reader, s *Seen) error {
	length, coding := s.Get("content-length"), s.Get("transfer-encoding")
	switch {
	case coding != "" && length != "":
		return errors.New("both Content-Length and Transfer-Encoding")
	case coding == "chunked":
		return u.readChunks(r, s)
	case coding != "":
		return fmt.Errorf("Transfer-Encoding %q", coding)
	case length != "":
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return err
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return fmt.Errorf("body of %d bytes: %w", n, err)
		}
		u.update(func() { s.Body = body })
	}
	return nil
}

func (u *Upstream) readChunks(r *bufio.Reader, s *Seen) error {
	var body []byte
	for {
		size, err := line(r)
		if err != nil {
			return fmt.Errorf("chunk size: %w", err)
		}
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil {
			return fmt.Errorf("chunk size %q", size)
		}
		if n == 0 {
			break
		}
		start := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(r, body[start:]); err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		if end, err := line(r); err != nil || end != "" {
			return fmt.Errorf("end of chunk: %q %w", end, err)
		}
	}
	trailer, err := headerLines(r)
	u.update(func() { s.Body, s.Trailer = body, trailer })
	return err
}

// answer writes what the plan says; keep tells whether the connection may go on.
func (u *Upstream) answer(w *bufio.Writer, s *Seen, p *plan) (keep bool, err error) {
	if !u.wait(p.delay) || p.breakAt == "head" {
		return false, nil
	}
	if p.raw != "" {
		_, err := w.WriteString(p.raw)
		return false, err
	}
	if p.interim != 0 {
		fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nx-interim: yes\r\n\r\n", p.interim, http.StatusText(p.interim))
		_ = w.Flush()
	}
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", p.status, http.StatusText(p.status))
	fmt.Fprintf(w, "X-Echo: %s\r\n", u.Name)
	for _, f := range p.header {
		fmt.Fprintf(w, "%s: %s\r\n", f.Name, f.Value)
	}
	chunked := p.chunked || len(p.trailer) > 0
	switch {
	case p.bodyless:
	case chunked:
		fmt.Fprint(w, "Transfer-Encoding: chunked\r\n")
	default:
		fmt.Fprintf(w, "Content-Length: %d\r\n", len(p.body))
	}
	fmt.Fprint(w, "\r\n")
	if p.isHead || p.bodyless {
		return true, nil
	}
	if p.breakAt == "body" {
		p.body = p.body[:len(p.body)/2]
	}
	for rest := p.body; len(rest) > 0; {
		part := rest[:min(len(rest), 16<<10)]
		rest = rest[len(part):]
		if chunked {
			fmt.Fprintf(w, "%x\r\n%s\r\n", len(part), part)
		} else {
			_, _ = w.Write(part)
		}
	}
	if p.breakAt == "body" {
		return false, nil
	}
	if chunked {
		fmt.Fprint(w, "0\r\n")
		for _, f := range p.trailer {
			fmt.Fprintf(w, "%s: %s\r\n", f.Name, f.Value)
		}
		fmt.Fprint(w, "\r\n")
	}
	return !strings.EqualFold(s.Get("connection"), "close"), w.Flush()
}

func line(r *bufio.Reader) (string, error) {
	text, err := r.ReadString('\n')
	if err != nil {
		return text, err
	}
	text, ok := strings.CutSuffix(text, "\r\n")
	if !ok {
		return "", fmt.Errorf("a line ends in LF alone: %q", text)
	}
	return text, nil
}

func headerLines(r *bufio.Reader) ([]Field, error) {
	var fields []Field
	for {
		text, err := line(r)
		if err != nil {
			return fields, fmt.Errorf("headers: %w", err)
		}
		if text == "" {
			return fields, nil
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fields, fmt.Errorf("header line %q", text)
		}
		fields = append(fields, Field{name, strings.Trim(value, " \t")})
	}
}
