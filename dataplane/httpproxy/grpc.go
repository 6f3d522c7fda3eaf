package httpproxy

import (
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// grpcAnswer makes an answer of our own one that a gRPC client understands, as Envoy does: status 200 and no body; what
// the status was becomes grpc-status, unless the route's changes say another, and the body grpc-message.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses (Trailers-Only)
func (x *exchange) grpcAnswer(res *message.Response, body string) {
	if !res.Header.Has("grpc-status") {
		res.Header.Add("grpc-status", grpcStatus(res.Status))
	}
	if body != "" && x.req.Method != "HEAD" {
		at := len(x.scratch)
		x.scratch = appendPercent(x.scratch, body)
		res.Header.Set("grpc-message", x.text(at))
	}
	res.Header.Set("content-type", "application/grpc")
	res.Status, res.ContentLength = 200, 0
}

// grpcStatus is the code that stands for a status of HTTP, as text. A 200 that is no gRPC answer is unknown too.
// https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
func grpcStatus(status int) string {
	const (
		unknown, permissionDenied, unimplemented, internal, unavailable, unauthenticated = 2, 7, 12, 13, 14, 16
	)
	code := unknown
	switch status {
	case 400:
		code = internal
	case 401:
		code = unauthenticated
	case 403:
		code = permissionDenied
	case 404:
		code = unimplemented
	case 429, 502, 503, 504:
		code = unavailable
	}
	return strconv.Itoa(code)
}

// appendPercent writes a text so that a header can hold it. Envoy escapes ~ too, which the protocol need not.
func appendPercent(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= '~' || c == '%' {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
