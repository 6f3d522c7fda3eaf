package http2

import (
	"errors"

	xhttp2 "golang.org/x/net/http2"
)

// connectionError ends a connection: its code goes into GOAWAY (RFC 9113, 5.4.1).
type connectionError struct {
	code xhttp2.ErrCode
	text string
}

func (e connectionError) Error() string { return e.code.String() + ": " + e.text }

var (
	errConnClosed = errors.New("connection closed")
	errReset      = errors.New("stream reset")
	errField      = errors.New("a field to be sent holds a byte that HTTP/2 does not allow")
)
