package listener

import (
	"errors"
	"net"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// HeaderError is a connection that does not begin as the PROXY protocol wants it.
type HeaderError struct{ Err error }

// Error says what is wrong.
func (e *HeaderError) Error() string { return e.Err.Error() }

// TakeHeader takes the PROXY protocol's header off the front of a connection. The connection that it returns gives what
// comes after: it is conn itself, if no more has been read. Without a header it is a *HeaderError, or, if optional, the
// zero Header. The deadline is for all of it; it is taken away at the end.
func TakeHeader(conn net.Conn, deadline time.Time, optional bool) (h proxyprotocol.Header, rest net.Conn, err error) {
	length := 0
	peeked, err := peek(conn, deadline, proxyprotocol.MaxLength, func(b []byte) (done bool, err error) {
		h, length, err = proxyprotocol.Parse(b)
		switch {
		case errors.Is(err, proxyprotocol.ErrNone) && optional:
			return true, nil
		case err != nil:
			return false, &HeaderError{err}
		}
		return length > 0, nil
	})
	if err != nil {
		return h, peeked, err
	}
	if peeked.ahead = peeked.ahead[length:]; len(peeked.ahead) == 0 {
		return h, peeked.Conn, nil
	}
	return h, peeked, nil
}
