package http1

import (
	"errors"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

var errNotBuilt = errors.New("http1: the codec follows")

// ServerStream is one request and its answer; it implements httpproxy.Stream. One goroutine calls it, save that Read may
// run in another than Respond, Write, Flush and End; Reset, Gone and SetReadDeadline may be called by any.
type ServerStream struct {
	req message.Request
}

// Request is the head.
func (s *ServerStream) Request() *message.Request { return &s.req }

// Read reads the request's body.
func (s *ServerStream) Read(p []byte) (int, error) { return 0, errNotBuilt }

// Respond sends the head.
func (s *ServerStream) Respond(head *message.Response, end bool) error { return errNotBuilt }

// Write sends a part of the body.
func (s *ServerStream) Write(p []byte) (int, error) { return 0, errNotBuilt }

// Flush sends what is buffered.
func (s *ServerStream) Flush() error { return errNotBuilt }

// End ends the answer.
func (s *ServerStream) End(trailer message.Header) error { return errNotBuilt }

// Reset breaks the answer off.
func (s *ServerStream) Reset() {}

// SetReadDeadline fails a Read that waits, then or already, with failure.RequestTimeout. The zero time takes it away.
func (s *ServerStream) SetReadDeadline(t time.Time) error { return errNotBuilt }
