package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sort"
	"strings"
	"time"
)

// Request is one request of a client, and the connection that it makes for it.
type Request struct {
	Method string
	// Addr is the address to dial, or unix:/path, TLS whether to speak it.
	Addr string
	TLS  bool
	// SNI is the server name in the handshake; empty sends none.
	SNI string
	// Cert names the certificate that the client shows, "ca/a.test": see Stage. Certificate is it.
	Cert        string
	Certificate *tls.Certificate
	// Proto is HTTP/1.1, HTTP/1.0, HTTP/2, RAW or TCP.
	Proto string
	// Authority is the Host.
	Authority string
	// Path is the target as it goes on the wire.
	Path    string
	Header  []Field
	Body    []byte
	Trailer []Field
	// Ahead is sent first of all, before a handshake too.
	Ahead []byte
	// Open: TCP does not half-close when it has sent the body.
	Open bool
	// Upgrade asks for a protocol; what Body holds is then sent after the switch, and awaited back.
	Upgrade string
	// Late: TCP half-closes only when the first byte has come back: who does it at once is gone for Envoy before its listener
	// filters are through.
	Late bool
	// Chunked sends the body in chunks; else with its length.
	Chunked bool
}

// Answer is what a client saw.
type Answer struct {
	Status  int
	Proto   string
	Interim []int
	// Header is in lower case, sorted by name, without date.
	Header  []Field
	Trailer []Field
	Body    []byte
	// Certificate is the first name of the certificate that was presented.
	Certificate string
	// Closed tells that the proxy closed the connection after an HTTP/1 answer, if it was asked for.
	Closed bool
	// Refused is the error of the handshake, or of a connection that was closed without an answer.
	Refused string
	// Rest is what a RAW connection says after the answer, if it was asked for: further answers.
	Rest string
	// Broken is the error that ended the body.
	Broken string
}

// Get is all values of a name, joined by ", ".
func (a *Answer) Get(name string) string { return joined(a.Header, name) }

// Do sends a request on a new connection. after looks at what comes after an HTTP/1 answer: the Rest, and whether the
// proxy closes the connection, which takes 2 s if it does not.
func Do(r *Request, after bool) *Answer {
	a := &Answer{}
	conn, err := dial(r, a)
	if err != nil {
		a.Refused = err.Error()
		return a
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(Patience))
	switch r.Proto {
	case "TCP":
		doTCP(conn, r, a)
	case "HTTP/2":
		doHTTP2(conn, r, a)
	default:
		doHTTP1(conn, r, a, after)
	}
	return a
}

func dial(r *Request, a *Answer) (net.Conn, error) {
	network, addr := "tcp", r.Addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := net.DialTimeout(network, addr, Patience)
	if err == nil && len(r.Ahead) > 0 {
		_, err = conn.Write(r.Ahead)
	}
	if err != nil || !r.TLS {
		return conn, err
	}
	// The certificates are self-signed: which one came is looked at, not who vouches for it.
	cfg := &tls.Config{ServerName: r.SNI, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if r.Certificate != nil {
		// Whatever the server says that it takes.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.Certificate, nil }
	}
	switch r.Proto {
	case "HTTP/2":
		cfg.NextProtos = []string{"h2", "http/1.1"}
	case "TCP":
		cfg.NextProtos = nil
	}
	secure := tls.Client(conn, cfg)
	_ = secure.SetDeadline(time.Now().Add(Patience))
	if err := secure.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	state := secure.ConnectionState()
	if leaf := state.PeerCertificates[0]; len(leaf.DNSNames) > 0 {
		a.Certificate = leaf.DNSNames[0]
	}
	if r.Proto == "HTTP/2" && state.NegotiatedProtocol != "h2" {
		_ = conn.Close()
		return nil, fmt.Errorf("ALPN chose %q, want h2", state.NegotiatedProtocol)
	}
	return secure, nil
}

func doTCP(conn net.Conn, r *Request, a *Answer) {
	if _, err := conn.Write(r.Body); err != nil {
		a.Refused = err.Error()
		return
	}
	var first [1]byte
	n := 0
	if r.Late {
		n, _ = conn.Read(first[:])
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && !r.Open {
		_ = half.CloseWrite()
	}
	body, err := io.ReadAll(conn)
	a.Body = append(first[:n:n], body...)
	if err != nil {
		a.Broken = err.Error()
	}
}

func doHTTP1(conn net.Conn, r *Request, a *Answer, after bool) {
	reader := bufio.NewReader(conn)
	head, body := r.Body, []byte(nil)
	if r.Proto != "RAW" {
		head, body = encode(r)
	}
	if r.Upgrade != "" {
		body = nil
	}
	_, err := conn.Write(head)
	if err != nil {
		a.Refused = err.Error()
	}
	asked := strings.EqualFold(joined(r.Header, "expect"), "100-continue")
	if !asked {
		// The body goes beside the answer, which may come before its end.
		go func() { _, _ = conn.Write(body) }()
	}
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: r.Method})
		if err != nil {
			if a.Refused = "no answer: " + err.Error(); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				a.Refused = "closed without an answer"
			}
			return
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			a.Interim = append(a.Interim, resp.StatusCode)
			if resp.StatusCode == 100 && asked {
				asked = false
				go func() { _, _ = conn.Write(body) }()
			}
			continue
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			a.Status, a.Proto, a.Header = resp.StatusCode, resp.Proto, lower(resp.Header)
			talk(struct {
				io.Reader
				io.Writer
			}{reader, conn}, r, a)
			break
		}
		readResponse(resp, a)
		break
	}
	if after {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		rest, err := io.ReadAll(reader)
		a.Rest, a.Closed = string(rest), !isTimeout(err)
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// encode is the request's head, and its body as it is framed.
func encode(r *Request) (head, body []byte) {
	var h, b bytes.Buffer
	fmt.Fprintf(&h, "%s %s %s\r\n", r.Method, r.Path, r.Proto)
	if r.Authority != "" {
		fmt.Fprintf(&h, "Host: %s\r\n", r.Authority)
	}
	for _, f := range r.Header {
		fmt.Fprintf(&h, "%s: %s\r\n", f.Name, f.Value)
	}
	switch {
	case r.Upgrade != "":
		fmt.Fprintf(&h, "Connection: Upgrade\r\nUpgrade: %s\r\n", r.Upgrade)
	case r.Chunked:
		fmt.Fprint(&h, "Transfer-Encoding: chunked\r\n")
		for rest := r.Body; len(rest) > 0; {
			part := rest[:min(len(rest), 1000)]
			rest = rest[len(part):]
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		}
		fmt.Fprint(&b, "0\r\n")
		for _, f := range r.Trailer {
			fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
		}
		fmt.Fprint(&b, "\r\n")
	case len(r.Body) > 0:
		fmt.Fprintf(&h, "Content-Length: %d\r\n", len(r.Body))
		b.Write(r.Body)
	}
	fmt.Fprint(&h, "\r\n")
	return h.Bytes(), b.Bytes()
}

func doHTTP2(conn net.Conn, r *Request, a *Answer) {
	if r.Upgrade != "" {
		doExtendedConnect(conn, r, a)
		return
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DisableCompression: true, DialContext: dial, DialTLSContext: dial, Protocols: new(http.Protocols),
	}
	defer transport.CloseIdleConnections()
	transport.Protocols.SetUnencryptedHTTP2(!r.TLS)
	transport.Protocols.SetHTTP2(r.TLS)
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	req := &http.Request{
		Method: r.Method, Host: r.Authority, Header: http.Header{"User-Agent": nil},
		URL: &url.URL{Scheme: scheme, Host: r.Authority, Opaque: r.Path},
	}
	if p, q, ok := strings.Cut(r.Path, "?"); ok {
		req.URL.Opaque, req.URL.RawQuery = p, q
	}
	for _, f := range r.Header {
		req.Header.Add(f.Name, f.Value)
	}
	if len(r.Body) > 0 || r.Chunked {
		req.Body = io.NopCloser(bytes.NewReader(r.Body))
		req.ContentLength = int64(len(r.Body))
		if r.Chunked {
			req.ContentLength = -1
		}
		req.Trailer = http.Header{}
		for _, f := range r.Trailer {
			req.Trailer.Add(f.Name, f.Value)
		}
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		a.Interim = append(a.Interim, code)
		return nil
	}}
	resp, err := transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		a.Refused = err.Error()
		return
	}
	readResponse(resp, a)
}

func readResponse(resp *http.Response, a *Answer) {
	a.Status, a.Proto = resp.StatusCode, resp.Proto
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	a.Body = body
	if err != nil {
		a.Broken = err.Error()
	}
	a.Header, a.Trailer = lower(resp.Header), lower(resp.Trailer)
	// net/http takes these out of the header.
	if len(resp.TransferEncoding) > 0 && resp.ProtoMajor == 1 {
		a.Header = append(a.Header, Field{"transfer-encoding", strings.Join(resp.TransferEncoding, ", ")})
	}
	if resp.Close && resp.ProtoMajor == 1 {
		a.Header = append(a.Header, Field{"connection", "close"})
	}
	sortFields(a.Header)
}

// lower is a header with lower-case names, sorted by name, without date.
func lower(h http.Header) []Field {
	var fields []Field
	for name, values := range h {
		if name == "Date" {
			continue
		}
		for _, v := range values {
			fields = append(fields, Field{strings.ToLower(name), v})
		}
	}
	sortFields(fields)
	return fields
}

func sortFields(fields []Field) {
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
}
