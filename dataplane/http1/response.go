package http1

import (
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ResponseParser parses the heads of answers. It is resumable as RequestParser is.
type ResponseParser struct {
	// Response is the head once Parse has returned its length. Its strings point into the bytes parsed.
	Response message.Response
	// Persists tells that the connection may serve another request, once the body has been read.
	Persists bool
	// Framing tells how the body ends.
	Framing Framing

	head   head
	method string
}

// Framing is how a body ends.
type Framing uint8

// The framings (RFC 9112, 6.3).
const (
	// FramedEmpty is no body.
	FramedEmpty Framing = iota
	// FramedLength is by Content-Length.
	FramedLength
	// FramedChunked is by chunks.
	FramedChunked
	// FramedClose is until the connection ends.
	FramedClose
)

// NewResponseParser makes a parser.
func NewResponseParser(limits Limits) *ResponseParser {
	p := &ResponseParser{}
	p.init(limits)
	return p
}

func (p *ResponseParser) init(limits Limits) {
	limits.setDefaults()
	p.head.limits = limits
}

// Reset gets ready for the next head: an answer to a request of that method, or the one after a 1xx.
func (p *ResponseParser) Reset(method string) {
	if cap(p.Response.Header) > cap(p.head.header) {
		p.head.header = p.Response.Header
	}
	p.head.reset()
	p.clear()
	p.method = method
}

func (p *ResponseParser) clear() {
	p.Response = message.Response{}
	p.Persists, p.Framing = false, FramedEmpty
}

// Parse takes the bytes of the head so far, and returns its length once it is whole, 0 if more bytes are needed. A
// failure is of kind BadResponse.
func (p *ResponseParser) Parse(buf []byte) (int, *failure.Error) {
	if len(buf) == 0 {
		return 0, nil
	}
	p.head.resume(buf)
	n, v := p.parse(buf)
	if v != nil {
		return 0, failure.Newf(failure.BadResponse, "%s", v.text)
	}
	return n, nil
}

func (p *ResponseParser) parse(buf []byte) (int, *violation) {
	if !p.head.started {
		p.clear()
		line, ok, v := p.head.next(buf)
		if !ok {
			return 0, v
		}
		if v := p.statusLine(line); v != nil {
			return 0, v
		}
		p.head.started = true
	}
	for {
		line, ok, v := p.head.next(buf)
		if !ok {
			return 0, v
		}
		if len(line) == 0 {
			break
		}
		if v := p.head.field(line); v != nil {
			return 0, v
		}
	}
	if v := p.finish(); v != nil {
		return 0, v
	}
	return p.head.line, nil
}

// statusLine parses HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112, 4). The second SP may lack, as many
// servers leave it out.
func (p *ResponseParser) statusLine(line []byte) *violation {
	if len(line) < 12 || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return bad("malformed status line (RFC 9112, 4)")
	}
	switch view(line[:8]) {
	case "HTTP/1.1":
		p.Response.Proto = message.HTTP11
	case "HTTP/1.0":
		p.Response.Proto = message.HTTP10
	default:
		return bad("neither HTTP/1.1 nor HTTP/1.0 (RFC 9112, 2.3)")
	}
	// RFC 9110, 15: what is not 100 to 599 is invalid, and as good as a 5xx: it is our 502.
	if !all(line[9:12], classDigit) || line[9] == '0' || line[9] > '5' {
		return bad("malformed status (RFC 9112, 4)")
	}
	p.Response.Status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	if len(line) > 13 {
		if !validValue(line[13:]) {
			return bad("control byte in the reason (RFC 9112, 4)")
		}
		p.Response.Reason = view(line[13:])
	}
	return nil
}

// finish draws the conclusions when the fields are all there (RFC 9112, 6.3).
func (p *ResponseParser) finish() *violation {
	res, f := &p.Response, &p.head.framing
	if f.hosts > 0 {
		return bad("host field in an answer")
	}
	res.Header = p.head.header
	chunked, v := f.chunked(res.Proto)
	if v != nil {
		return v
	}
	p.Persists = f.persists(res.Proto)
	switch {
	case res.Status < 200 || res.Status == 204:
		// RFC 9110, 8.6 and RFC 9112, 6.1: neither field may be here. A length of 0 is common, and says the same.
		if chunked || f.length != 0 {
			return bad("status %d with a body (RFC 9112, 6.3)", res.Status)
		}
	case p.method == "HEAD" || res.Status == 304:
		// The fields tell what a GET would get.
	case chunked:
		p.Framing, res.ContentLength = FramedChunked, -1
	case f.lengths > 0:
		if f.length > 0 {
			p.Framing, res.ContentLength = FramedLength, f.length
		}
	default:
		p.Framing, res.ContentLength = FramedClose, -1
		p.Persists = false
	}
	return nil
}
