package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http2"
)

// doExtendedConnect asks for a protocol over HTTP/2 (RFC 8441).
func doExtendedConnect(conn net.Conn, r *Request, a *Answer) {
	//lint:ignore SA1019 net/http's transport refuses the field :protocol
	client, err := (&http2.Transport{DisableCompression: true, AllowHTTP: true}).NewClientConn(conn)
	if err != nil {
		a.Refused = err.Error()
		return
	}
	defer client.Close()
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	toUp, up := io.Pipe()
	defer up.Close()
	req := &http.Request{
		Method: http.MethodConnect, Host: r.Authority, Body: toUp, ContentLength: -1,
		Header: http.Header{":protocol": {r.Upgrade}, "User-Agent": nil},
		URL:    &url.URL{Scheme: scheme, Host: r.Authority, Path: r.Path},
	}
	for _, f := range r.Header {
		req.Header.Add(f.Name, f.Value)
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		a.Refused = err.Error()
		return
	}
	if resp.StatusCode != http.StatusOK {
		up.Close()
		readResponse(resp, a)
		return
	}
	a.Status, a.Proto, a.Header = resp.StatusCode, resp.Proto, lower(resp.Header)
	talk(struct {
		io.Reader
		io.Writer
	}{resp.Body, up}, r, a)
}

// talk speaks the other protocol: it sends the body, and reads as much again.
func talk(conn io.ReadWriter, r *Request, a *Answer) {
	if _, err := conn.Write(r.Body); err != nil {
		a.Broken = err.Error()
		return
	}
	a.Body = make([]byte, len(r.Body))
	n, err := io.ReadFull(conn, a.Body)
	if a.Body = a.Body[:n]; err != nil {
		a.Broken = err.Error()
	}
}

// upgrade answers 101 to the protocol that was asked for, and then sends back what comes.
func (u *Upstream) upgrade(r *bufio.Reader, w *bufio.Writer, s *Seen, p *plan) error {
	fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nX-Echo: %s\r\nUpgrade: %s\r\nConnection: Upgrade\r\n", u.Name, s.Get("upgrade"))
	for _, f := range p.header {
		fmt.Fprintf(w, "%s: %s\r\n", f.Name, f.Value)
	}
	fmt.Fprint(w, "\r\n")
	return u.echo(r, w, w.Flush, s)
}

// echo sends back what comes until it ends.
func (u *Upstream) echo(r io.Reader, w io.Writer, flush func() error, s *Seen) error {
	buf := make([]byte, 32<<10)
	for err := flush(); ; err = flush() {
		if err != nil {
			return err
		}
		n, err := r.Read(buf)
		u.update(func() {
			if u.record {
				s.Body = append(s.Body, buf[:n]...)
			}
		})
		if err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
}
