package http1

import (
	"net/netip"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// RequestParser parses the heads of requests, one after another. It is resumable: Parse is called again with more bytes
// until the head is whole; how they were split makes no difference.
type RequestParser struct {
	// Request is the head once Parse has returned its length. Its strings point into the bytes parsed.
	Request message.Request
	// Persists tells that the client wants the connection to go on.
	Persists bool
	// ExpectContinue tells that it waits for a 100 before it sends the body.
	ExpectContinue bool
	// Chunked tells how the body is framed; else by Request.ContentLength.
	Chunked bool

	secure, acceptHTTP10 bool
	head                 head
	target               string
}

// NewRequestParser makes a parser. Secure requests have the scheme https. Without acceptHTTP10 those of HTTP/1.0 are
// refused with failure.UpgradeRequired.
func NewRequestParser(limits Limits, secure, acceptHTTP10, rejectUnderscores bool) *RequestParser {
	p := &RequestParser{}
	p.init(limits, secure, acceptHTTP10, rejectUnderscores)
	return p
}

func (p *RequestParser) init(limits Limits, secure, acceptHTTP10, rejectUnderscores bool) {
	limits.setDefaults()
	p.head.limits, p.head.rejectUnderscores = limits, rejectUnderscores
	p.secure, p.acceptHTTP10 = secure, acceptHTTP10
}

// Reset gets ready for the next head.
func (p *RequestParser) Reset() {
	// Who adds fields to Request.Header may have needed a larger array: the next request finds it.
	if cap(p.Request.Header) > cap(p.head.header) {
		p.head.header = p.Request.Header
	}
	p.head.reset()
	p.clear()
}

func (p *RequestParser) clear() {
	p.Request = message.Request{}
	p.Persists, p.ExpectContinue, p.Chunked, p.target = false, false, false, ""
}

// Parse takes the bytes of the head so far, from its first byte on, and maybe more. It returns the head's length once it
// is whole, 0 if more bytes are needed. After a failure (of kind BadRequest, HeadersTooLarge, TargetTooLong,
// UpgradeRequired, BadVersion, UnknownCoding), Request is what was understood, and the connection cannot be used further.
func (p *RequestParser) Parse(buf []byte) (int, *failure.Error) {
	if len(buf) == 0 {
		return 0, nil
	}
	p.head.resume(buf)
	n, v := p.parse(buf)
	if v != nil {
		p.Request.Header = p.head.header
		return 0, failure.Newf(v.kind, "%s", v.text)
	}
	return n, nil
}

func (p *RequestParser) parse(buf []byte) (int, *violation) {
	if !p.head.started {
		p.clear()
		if len(buf) >= 2 && p.head.line == 0 && buf[0] == '\r' && buf[1] == '\n' {
			// RFC 9112, 2.2: one empty line before a request is ignored. More are not.
			p.head.line, p.head.scanned = 2, max(2, p.head.scanned)
		}
		line, ok, v := p.head.next(buf)
		if !ok {
			return 0, v
		}
		if v := p.requestLine(line); v != nil {
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

// requestLine parses method SP request-target SP HTTP-version (RFC 9112, 3).
func (p *RequestParser) requestLine(line []byte) *violation {
	i := 0
	for i < len(line) && classes[line[i]]&classToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return bad("method is not a token (RFC 9110, 9.1)")
	}
	method, rest := line[:i], line[i+1:]
	i = 0
	for i < len(rest) && classes[rest[i]]&classTarget != 0 {
		i++
	}
	if i == 0 || i == len(rest) || rest[i] != ' ' {
		return bad("malformed request line (RFC 9112, 3)")
	}
	p.Request.Method = view(method)
	p.target = view(rest[:i])
	p.Request.Scheme = "http"
	if p.secure {
		p.Request.Scheme = "https"
	}
	switch version := view(rest[i+1:]); version {
	case "HTTP/1.1":
		p.Request.Proto = message.HTTP11
	case "HTTP/1.0":
		p.Request.Proto = message.HTTP10
		if !p.acceptHTTP10 {
			return &violation{failure.UpgradeRequired, "HTTP/1.0"}
		}
	default:
		// RFC 9112, 2.3.
		if len(version) == 8 && version[:5] == "HTTP/" && version[6] == '.' &&
			classes[version[5]]&classDigit != 0 && classes[version[7]]&classDigit != 0 {
			return &violation{failure.BadVersion, "neither HTTP/1.1 nor HTTP/1.0"}
		}
		return bad("malformed version (RFC 9112, 2.3)")
	}
	// What was understood, for the log of a request that is refused.
	p.Request.Path = p.target
	return nil
}

// finish draws the conclusions when the fields are all there.
func (p *RequestParser) finish() *violation {
	req, f := &p.Request, &p.head.framing
	req.Header = p.head.header
	// RFC 9112, 3.2: 400 for none, more than one, or an invalid one.
	if f.hosts != 1 {
		return bad("%d host fields (RFC 9112, 3.2)", f.hosts)
	}
	if !validAuthority(f.host) {
		return bad("invalid host (RFC 9110, 7.2)")
	}
	if v := p.resolve(f.host); v != nil {
		return v
	}
	chunked, v := f.chunked(req.Proto)
	if v != nil {
		return v
	}
	p.Chunked = chunked
	req.ContentLength = f.length
	if chunked {
		req.ContentLength = -1
	}
	// What follows CONNECT is not HTTP if it is accepted, and it is never accepted here.
	p.Persists = f.persists(req.Proto) && req.Method != "CONNECT"
	// RFC 9110, 10.1.1: not from HTTP/1.0, and not without a body.
	p.ExpectContinue = f.expect && req.Proto == message.HTTP11 && req.ContentLength != 0
	return nil
}

// resolve sets authority and path by the form of the target (RFC 9112, 3.2).
func (p *RequestParser) resolve(host string) *violation {
	req, target := &p.Request, p.target
	req.Authority = host
	switch {
	case req.Method == "CONNECT":
		// authority-form: with its port, and the same as Host.
		if !validAuthority(target) || !hasPort(target) {
			return bad("target of CONNECT is not an authority (RFC 9112, 3.2.3)")
		}
		if !EqualToken(target, host) {
			return bad("target and host disagree (RFC 9112, 3.2.3)")
		}
		req.Path = ""
	case target[0] == '/':
		req.Path = target
	case target == "*":
		if req.Method != "OPTIONS" {
			return bad("target * is for OPTIONS (RFC 9112, 3.2.4)")
		}
		req.Path = target
	default:
		return p.absolute(host)
	}
	return nil
}

// absolute takes the absolute-form apart (RFC 9112, 3.2.2). The RFC lets its authority replace Host; here they must
// agree, and so must the scheme and the connection's, so that nobody down the line sees another host than we did.
func (p *RequestParser) absolute(host string) *violation {
	req, target := &p.Request, p.target
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !EqualToken(scheme, "http") && !EqualToken(scheme, "https") {
		return bad("target is not a path or an http URI (RFC 9112, 3.2)")
	}
	if !EqualToken(scheme, req.Scheme) {
		return bad("target's scheme is not the connection's (RFC 9110, 7.4)")
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !validAuthority(authority) || !EqualToken(authority, host) {
		return bad("target and host disagree (RFC 9112, 3.2.2)")
	}
	switch {
	case path == "" && req.Method == "OPTIONS":
		// RFC 9112, 3.2.4.
		req.Path = "*"
	case path == "":
		req.Path = "/"
	case path[0] == '?':
		req.Path = "/" + path
	default:
		req.Path = path
	}
	return nil
}

// validAuthority is host [ ":" port ] without user information (RFC 9110, 4.2.4 and 7.2), and not empty.
func validAuthority(s string) bool {
	if s == "" {
		return false
	}
	host, port := s, ""
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		host, port = s[1:end], s[end+1:]
		// No zone: it means nothing to anyone but the sender (RFC 6874, 4).
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || ip.Zone() != "" {
			return false
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, port = s[:i], s[i:]
		}
		if host == "" || !all(host, classHost) || !validEscapes(host) {
			return false
		}
	}
	if port == "" {
		return true
	}
	if port[0] != ':' || len(port) > 6 || !all(port[1:], classDigit) {
		return false
	}
	n, _ := ParseLength(port[1:])
	return n < 1<<16
}

// validEscapes tells whether each percent sign is followed by two hexadecimal digits (RFC 3986, 2.1).
func validEscapes(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		if i+2 >= len(s) || classes[s[i+1]]&classHex == 0 || classes[s[i+2]]&classHex == 0 {
			return false
		}
		s = s[i+3:]
	}
}

func hasPort(authority string) bool {
	i := strings.LastIndexByte(authority, ':')
	return i >= 0 && i < len(authority)-1 && classes[authority[len(authority)-1]]&classDigit != 0 &&
		strings.IndexByte(authority[i:], ']') < 0
}
