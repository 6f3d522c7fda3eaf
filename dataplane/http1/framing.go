package http1

import (
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// framing is what a head's fields say about the message's length and the connection (RFC 9112, 6 and 9).
type framing struct {
	// hosts, lengths and codings count the lines of Host, Content-Length and Transfer-Encoding.
	hosts, lengths, codings int
	host                    string
	length                  int64
	coding                  string
	// close and keepAlive are options of Connection; upgrade is the option, and the Upgrade field is protocols.
	close, keepAlive, upgrade bool
	protocols                 string
	// expect is "100-continue" (RFC 9110, 10.1.1).
	expect bool
}

// note looks at a field; keep is false for Host, which the message's head has apart.
func (f *framing) note(name, value string) (keep bool, v *violation) {
	switch len(name) {
	case len("host"):
		if message.EqualName(name, "host") {
			f.hosts++
			f.host = value
			return false, nil
		}
	case len("expect"):
		if message.EqualName(name, "expect") && EqualToken(value, "100-continue") {
			f.expect = true
		}
	case len("upgrade"):
		if message.EqualName(name, "upgrade") {
			f.protocols = value
		}
	case len("connection"):
		if message.EqualName(name, "connection") {
			return true, f.connection(value)
		}
	case len("content-length"):
		if message.EqualName(name, "content-length") {
			f.lengths++
			n, ok := ParseLength(value)
			if !ok {
				return false, bad("content-length is not a number (RFC 9110, 8.6)")
			}
			if f.lengths > 1 {
				// RFC 9112, 6.3 lets a recipient accept equal ones; who sends two of them is up to no good.
				return false, bad("content-length twice (RFC 9112, 6.3)")
			}
			f.length = n
		}
	case len("transfer-encoding"):
		if message.EqualName(name, "transfer-encoding") {
			f.codings++
			f.coding = value
		}
	}
	return true, nil
}

func (f *framing) connection(value string) (v *violation) {
	switch {
	case EqualToken(value, "keep-alive"):
		f.keepAlive = true
		return nil
	case EqualToken(value, "close"):
		f.close = true
		return nil
	}
	EachToken(value, func(token string) bool {
		switch {
		case EqualToken(token, "close"):
			f.close = true
		case EqualToken(token, "keep-alive"):
			f.keepAlive = true
		case EqualToken(token, "upgrade"):
			f.upgrade = true
		case EqualToken(token, "host"), EqualToken(token, "content-length"):
			// RFC 9110, 7.6.1: not for fields that are meant for all recipients. Obeyed, it would change what the message means.
			v = bad("connection names %s (RFC 9110, 7.6.1)", strings.ToLower(token))
		}
		return v == nil
	})
	return v
}

// persists tells whether the connection may serve another message (RFC 9112, 9.3).
func (f *framing) persists(proto message.Proto) bool {
	if f.close {
		return false
	}
	return proto != message.HTTP10 || f.keepAlive
}

// chunked tells whether the body is chunked, and refuses what leaves its length in doubt (RFC 9112, 6.1 and 6.3).
func (f *framing) chunked(proto message.Proto) (bool, *violation) {
	if f.codings == 0 {
		return false, nil
	}
	switch {
	case f.lengths > 0:
		return false, bad("content-length with transfer-encoding (RFC 9112, 6.3)")
	case proto == message.HTTP10:
		return false, bad("transfer-encoding in HTTP/1.0 (RFC 9112, 6.1)")
	case f.codings > 1:
		return false, bad("transfer-encoding twice (RFC 9112, 6.1)")
	case EqualToken(f.coding, "chunked"):
		return true, nil
	}
	last, count, chunks := "", 0, 0
	EachToken(f.coding, func(token string) bool {
		last = token
		count++
		if EqualToken(token, "chunked") {
			chunks++
		}
		return true
	})
	if !EqualToken(last, "chunked") && count > 0 && chunks == 0 && all(last, classToken) ||
		EqualToken(last, "chunked") && chunks == 1 && count > 1 {
		return false, &violation{failure.UnknownCoding, "transfer-encoding other than chunked (RFC 9112, 6.1)"}
	}
	return false, bad("malformed transfer-encoding (RFC 9112, 6.1)")
}

// ParseLength reads a Content-Length: digits, and nothing else, that fit in 63 bits (RFC 9110, 8.6).
func ParseLength(s string) (int64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, n >= 0
}
