package http2

import (
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// request makes a request's head of a section that has ended well. end says that no body follows.
func (r *fieldReader) request(req *message.Request, end, secure bool) *malformed {
	*req = message.Request{
		Proto: message.HTTP2, Method: r.method, Scheme: "http", Authority: r.authority, Path: r.path,
		Header: r.fields, ContentLength: -1,
	}
	if secure {
		req.Scheme = "https"
	}
	if r.saw&sawAuthority == 0 {
		req.Authority = r.host
	}
	if end {
		req.ContentLength = 0
	}
	if r.saw&sawProtocol != 0 {
		return r.extendedConnect(req)
	}
	if r.crumbs > 1 {
		joinCookies(&req.Header, r.crumbs)
	}
	if why := r.checkRequest(req); why != nil {
		return why
	}
	var why *malformed
	if r.declared, why = contentLength(&req.Header); why != nil {
		return why
	}
	switch {
	case end && r.declared > 0:
		return refusal("content-length %d without a body", r.declared)
	case !end && r.declared > 0:
		req.ContentLength = r.declared
	}
	// 0 and no end: trailers may follow, or DATA that is empty. Only reading tells.
	return nil
}

func (r *fieldReader) checkRequest(req *message.Request) *malformed {
	switch {
	case r.method == "CONNECT":
		return refusal("CONNECT is not supported")
	case r.saw&(sawMethod|sawScheme|sawPath) != sawMethod|sawScheme|sawPath:
		// RFC 9113, 8.3.1.
		return broken("a pseudo-field is missing")
	case r.scheme != "http" && r.scheme != "https":
		return broken(":scheme is %q", r.scheme)
	case !http1.ValidName(r.method):
		// With a space in it, it would become another request line in HTTP/1 (RFC 9110, 9.1: it is a token).
		return refusal(":method is not a token")
	case r.path == "*":
		if r.method != "OPTIONS" {
			return refusal(`:path "*" is for OPTIONS`)
		}
	case r.path == "" || r.path[0] != '/':
		return broken(":path %q does not begin with /", r.path)
	case !http1.ValidTarget(r.path):
		// What stands here would stand in an HTTP/1 request line (RFC 9112, 3.2); a fragment is the client's own.
		return refusal(":path holds a byte that no path does")
	}
	switch {
	case req.Authority == "":
		// RFC 9113, 8.3.1: an authority there must be for http and https.
		return refusal("neither :authority nor host")
	case !http1.ValidAuthority(req.Authority):
		return broken("authority %q is no host and port", req.Authority)
	case r.saw&sawHost != 0 && !strings.EqualFold(r.host, req.Authority):
		// RFC 9113, 8.3.1: who sees only one of them would see another host.
		return broken(":authority and host disagree")
	}
	return nil
}

// response makes an answer's head of a section that has ended well. ContentLength is -1 if there is no Content-Length;
// end says that no body follows, and makes it 0.
func (r *fieldReader) response(res *message.Response, end bool) *malformed {
	*res = message.Response{Proto: message.HTTP2, Header: r.fields, ContentLength: -1}
	s := r.status
	// RFC 9110, 15: three digits.
	if len(s) != 3 || s[0] < '1' || s[0] > '9' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return broken(":status is %q", s)
	}
	res.Status = int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	var why *malformed
	if r.declared, why = contentLength(&res.Header); why != nil {
		return why
	}
	res.ContentLength = r.declared
	if end {
		res.ContentLength = 0
	}
	return nil
}

// trailer is the section's fields; nil if there are none.
func (r *fieldReader) trailer() message.Header {
	if len(r.fields) == 0 {
		return nil
	}
	return r.fields
}

// joinCookies makes one Cookie field of many (RFC 9113, 8.2.3), where the first one stood. An empty crumb adds nothing:
// joined by "; " it would leave a space at an end of the field, which no field has (RFC 9110, 5.5).
func joinCookies(h *message.Header, crumbs int) {
	n := 2 * (crumbs - 1)
	for i := range *h {
		if (*h)[i].Name == "cookie" {
			n += len((*h)[i].Value)
		}
	}
	var joined strings.Builder
	joined.Grow(n)
	first := -1
	kept := (*h)[:0]
	for _, f := range *h {
		if f.Name != "cookie" {
			kept = append(kept, f)
			continue
		}
		if first < 0 {
			first = len(kept)
			kept = append(kept, f)
		}
		if f.Value != "" && joined.Len() > 0 {
			joined.WriteString("; ")
		}
		joined.WriteString(f.Value)
	}
	kept[first].Value = joined.String()
	*h = kept
}

// contentLength is the one meaning of a head's Content-Length fields; -1 if there are none. Equal ones become one
// (RFC 9110, 8.6).
func contentLength(h *message.Header) (int64, *malformed) {
	var first string
	n, found := int64(-1), 0
	for i := range *h {
		f := &(*h)[i]
		if f.Name != "content-length" {
			continue
		}
		if found++; found > 1 {
			if f.Value != first {
				return 0, refusal("content-length %q and %q", first, f.Value)
			}
			continue
		}
		var ok bool
		if n, ok = http1.ParseLength(f.Value); !ok {
			return 0, refusal("content-length %q is not a number", f.Value)
		}
		first = f.Value
	}
	if found > 1 {
		h.Set("content-length", first)
	}
	return n, nil
}
