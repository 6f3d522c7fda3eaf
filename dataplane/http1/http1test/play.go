package http1test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// Proxy is where a proxy in front of an Origin listens.
type Proxy struct {
	Origin *Origin
	// Addr does not serve HTTP/1.0, HTTP10 does.
	Addr, HTTP10 string
	// Patience is for an answer; Pause is how long it may take to end a connection that must end.
	Patience, Pause time.Duration
}

// Result is what a case came to.
type Result struct {
	// Answers are the final ones, as the client saw them; one that is not whole has the End "more". Interim are the statuses
	// of those before.
	Answers []Message
	Interim []string
	// Closed: the proxy ended the connection, after the bytes Extra.
	Closed bool
	Extra  string
	// Late is why the late bytes could not be sent: the proxy had closed the upstream connection.
	Late string
	// Next is what is wrong with the answer to one more request on the connection; Fresh on another connection.
	Next, Fresh string
	// Seen is what the origin saw, of the case's own; NextConn is the upstream connection of the request after it.
	Seen     []Message
	NextConn int
}

// The requests that come after a case.
const (
	nextTarget  = "/after-it"
	freshTarget = "/afresh"
)

// Play plays a case. Bytewise sends each byte of the client by itself.
func (p *Proxy) Play(c *Case, bytewise bool) (r Result, err error) {
	p.Origin.Begin(nil)
	addr := p.Addr
	if c.HTTP10 {
		addr = p.HTTP10
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(p.Patience))
	in := bufio.NewReader(conn)
	if c.IsAnswer {
		p.Origin.Begin(c)
		fmt.Fprintf(conn, "%s /case HTTP/1.1\r\nHost: a.test\r\n\r\n", c.Method)
	} else if err := send(conn, in, c, bytewise); err != nil {
		r.Extra = err.Error()
	}
	if c.cut() {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	p.read(&r, c, conn, in)
	if !r.Closed && c.open(r) {
		_ = conn.SetDeadline(time.Now().Add(p.Patience))
		if c.Later != "" {
			if err := p.Origin.Late(c.Later); err != nil {
				r.Late = err.Error()
			}
		}
		r.Next = ask(conn, in, nextTarget)
	} else if !r.Closed {
		_ = conn.SetReadDeadline(time.Now().Add(p.Pause))
		rest, err := io.ReadAll(in)
		r.Extra += string(rest)
		r.Closed = err == nil || !errors.Is(err, os.ErrDeadlineExceeded)
	}
	conn.Close()
	// Whatever was sent on has arrived when this has been answered, as far as can be known.
	r.Fresh = p.Afresh()
	for _, m := range p.Origin.Seen() {
		switch target := m.Head[strings.LastIndexByte(m.Head, ' ')+1:]; target {
		case nextTarget, freshTarget:
			if r.NextConn == 0 {
				r.NextConn = m.Conn
			}
		default:
			r.Seen = append(r.Seen, m)
		}
	}
	return r, nil
}

func send(conn net.Conn, in *bufio.Reader, c *Case, bytewise bool) error {
	for _, w := range c.Writes {
		if w.Await100 {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				return fmt.Errorf("no 100 came: %w", err)
			}
			if res.StatusCode != 100 {
				return fmt.Errorf("%d came, want 100", res.StatusCode)
			}
		}
		// A proxy that refuses the first bytes need not read the others: that is seen by its answer.
		if !bytewise {
			_, _ = io.WriteString(conn, w.Bytes)
			continue
		}
		for i := range len(w.Bytes) {
			if _, err := io.WriteString(conn, w.Bytes[i:i+1]); err != nil {
				break
			}
		}
	}
	return nil
}

// read reads as many answers as there may be.
func (p *Proxy) read(r *Result, c *Case, conn net.Conn, in *bufio.Reader) {
	methods := []string{c.Method}
	if !c.IsAnswer {
		methods = methods[:0]
		for _, w := range c.Want {
			if w.Refused() && strings.HasPrefix(c.Bytes(), "HEAD ") {
				w.Head = "HEAD"
			}
			methods = append(methods, w.Method())
		}
	}
	for _, method := range methods {
		m, err := r.readAnswer(in, method)
		if m.Head != "" {
			r.Answers = append(r.Answers, m)
		}
		if err != nil {
			r.Closed = !errors.Is(err, os.ErrDeadlineExceeded)
			return
		}
	}
}

func (r *Result) readAnswer(in *bufio.Reader, method string) (m Message, err error) {
	for {
		if _, err := in.Peek(1); err != nil {
			return m, err
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			m.Head, m.End = "unreadable: "+err.Error(), "more"
			return m, err
		}
		if res.StatusCode < 200 && res.StatusCode != 101 {
			r.Interim = append(r.Interim, fmt.Sprint(res.StatusCode))
			continue
		}
		body, err := io.ReadAll(res.Body)
		m.Head = fmt.Sprint(res.StatusCode)
		m.Body = string(body)
		m.Fields, m.Trailers = flatten(res.Header), flatten(res.Trailer)
		if err != nil {
			m.End = "more"
			return m, err
		}
		if res.Close {
			m.End = "end"
		}
		return m, nil
	}
}

func flatten(h http.Header) (fields []Field) {
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, Field{name, v})
		}
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// ask sends a plain request, and tells what is wrong with its answer.
func ask(conn net.Conn, in *bufio.Reader, target string) string {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", target); err != nil {
		return err.Error()
	}
	m, err := (&Result{}).readAnswer(in, "GET")
	if err != nil {
		return fmt.Sprintf("%v, after %q", err, m)
	}
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, "x-saw") && f.Value == "GET "+target && m.Body == "ok" && m.Status() == 200 {
			return ""
		}
	}
	return fmt.Sprintf("got %q", m)
}

// Afresh sends a plain request on a connection of its own, and tells what is wrong with its answer.
func (p *Proxy) Afresh() string {
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(p.Patience))
	return ask(conn, bufio.NewReader(conn), freshTarget)
}

// cut tells whether the client's bytes end within a message.
func (c *Case) cut() bool {
	last := c.Want[len(c.Want)-1]
	return !c.IsAnswer && (last.Head == "more" || last.End == "more")
}

// open tells whether the connection is to serve another request.
func (c *Case) open(r Result) bool {
	if c.IsAnswer {
		return len(r.Answers) > 0 && r.Answers[len(r.Answers)-1].End == ""
	}
	_, end := c.status(len(c.Want) - 1)
	return !end && !c.cut()
}

// status is what the client is to see of a message, and whether the connection ends then; 0 is nothing.
func (c *Case) status(i int) (status int, end bool) {
	w := c.Want[i]
	if i < len(c.Answers) {
		m := Message{Head: c.Answers[i]}
		return m.Status(), strings.HasSuffix(c.Answers[i], " end")
	}
	switch {
	case w.Refused():
		return w.Status(), true
	case w.Head == "more" || w.End == "more":
		return 0, true
	case isStatus(w.End):
		return Message{Head: w.End}.Status(), true
	}
	return 200, w.End == "end"
}
