package http1test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// Origin is an upstream on a raw socket. It takes what comes for what a plain reader would, and notes what is ambiguous
// in it. It answers 200 with the field X-Saw, which says what it took the request for; to /case, what it was told to.
type Origin struct {
	Addr string

	listener net.Listener
	running  sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu. scripted is the connection that the script was played on.
	seen     []Message
	script   *Case
	scripted net.Conn
	conns    map[net.Conn]bool
	total    int
}

// NewOrigin listens on loopback until Close.
func NewOrigin() (*Origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &Origin{Addr: l.Addr().String(), listener: l, conns: map[net.Conn]bool{}}
	o.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[c] = true
			o.total++
			number := o.total
			o.mu.Unlock()
			o.running.Go(func() {
				o.serve(c, number)
				c.Close()
				o.mu.Lock()
				delete(o.conns, c)
				o.mu.Unlock()
			})
		}
	})
	return o, nil
}

// Close ends all of it.
func (o *Origin) Close() {
	o.listener.Close()
	o.mu.Lock()
	for c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.running.Wait()
}

// Begin forgets what was seen, and has a case's bytes be the answer to /case.
func (o *Origin) Begin(script *Case) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen, o.script, o.scripted = nil, script, nil
}

// Seen is what came since Begin, in order.
func (o *Origin) Seen() []Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Message(nil), o.seen...)
}

// Late sends bytes on the connection of the script.
func (o *Origin) Late(s string) error {
	o.mu.Lock()
	c := o.scripted
	o.mu.Unlock()
	if c == nil {
		return errors.New("no request for /case came")
	}
	_, err := io.WriteString(c, s)
	return err
}

func (o *Origin) serve(c net.Conn, number int) {
	r := bufio.NewReader(c)
	for {
		m, err := readRequest(r, func() { _, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") })
		if m.Head == "" {
			return
		}
		m.Conn = number
		target := m.Head[strings.LastIndexByte(m.Head, ' ')+1:]
		o.mu.Lock()
		o.seen = append(o.seen, m)
		script := o.script
		if target == "/case" {
			o.scripted = c
		}
		o.mu.Unlock()
		if err != nil {
			return
		}
		if target == "/case" && script != nil {
			for _, w := range script.Writes {
				_, _ = io.WriteString(c, w.Bytes)
			}
			if script.Close {
				return
			}
			continue
		}
		body := "ok"
		if m.Method() == "HEAD" {
			body = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Saw: %s %s\r\n\r\n%s", short(m.Method()), short(target), body)
	}
}

var errCut = errors.New("not whole")

// readRequest reads a request as it stands. An error is the end of the connection, or of what can be understood.
func readRequest(r *bufio.Reader, goOn func()) (m Message, err error) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		c, err := r.ReadByte()
		if err != nil {
			if head.Len() > 0 {
				m.Head, m.End = strconv.Quote(head.String()), "more"
			}
			return m, err
		}
		head.WriteByte(c)
	}
	problem := func(format string, args ...any) {
		if m.Problem == "" {
			m.Problem = fmt.Sprintf(format, args...)
		}
	}
	lines := strings.Split(strings.TrimSuffix(head.String(), "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		problem("request line %q", lines[0])
		m.Head = strconv.Quote(lines[0])
		return m, errCut
	}
	var hosts, lengths, codings []string
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n\x00") {
			problem("line %q", line)
		}
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\"(),/;<=>?@[\\]{}\x7f") {
			problem("field %q", line)
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			hosts = append(hosts, value)
			continue
		case "content-length":
			lengths = append(lengths, value)
			continue
		case "transfer-encoding":
			codings = append(codings, value)
			continue
		case "expect":
			goOn()
		}
		m.Fields = append(m.Fields, Field{name, value})
	}
	if len(hosts) != 1 {
		problem("%d hosts", len(hosts))
		hosts = append(hosts, "-")
	}
	m.Head = parts[0] + " " + hosts[0] + " " + parts[1]
	switch {
	case len(codings) > 1 || len(lengths) > 1 || len(codings) == 1 && len(lengths) == 1:
		problem("lengths %q, codings %q", lengths, codings)
		return m, errCut
	case len(codings) == 1:
		if !strings.EqualFold(codings[0], "chunked") {
			problem("coding %q", codings[0])
			return m, errCut
		}
		err = m.readChunks(r)
	case len(lengths) == 1:
		n, bad := strconv.ParseInt(lengths[0], 10, 64)
		if bad != nil || n < 0 {
			problem("length %q", lengths[0])
			return m, errCut
		}
		m.Body, err = readN(r, n)
	}
	if err != nil {
		m.End = "more"
	}
	return m, err
}

// readN reads n bytes, and keeps no more than came.
func readN(r *bufio.Reader, n int64) (string, error) {
	var b strings.Builder
	_, err := io.CopyN(&b, r, n)
	return b.String(), err
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", errCut
	}
	return strings.TrimSuffix(line, "\r\n"), nil
}

// readChunks reads a chunked body and its trailers.
func (m *Message) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil || n < 0 {
			m.Problem = fmt.Sprintf("chunk %q", line)
			return errCut
		}
		if n == 0 {
			break
		}
		chunk, err := readN(r, n)
		if m.Body += chunk; err != nil {
			return err
		}
		if end, err := readLine(r); err != nil || end != "" {
			return errCut
		}
	}
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return err
		}
		name, value, _ := strings.Cut(line, ":")
		m.Trailers = append(m.Trailers, Field{name, strings.Trim(value, " \t")})
	}
}
