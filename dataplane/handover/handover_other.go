//go:build !linux

package handover

import (
	"context"
	"errors"
)

// errSystem is why nothing is handed over.
var errSystem = errors.New("handover: only Linux can hand over descriptors so")

// Server is of Linux.
type Server struct{}

// Listen is an error.
func Listen(Options) (*Server, error) { return nil, errSystem }

// Close does nothing.
func (*Server) Close() {}

// Run does nothing.
func (*Server) Run(context.Context) bool { return false }

// Predecessor is of Linux.
type Predecessor struct {
	Descriptors []Received
	PID         int
}

// Ask is an error.
func Ask(string, Identity) (*Predecessor, error) { return nil, errSystem }

// Ended is never closed.
func (*Predecessor) Ended() <-chan struct{} { return nil }

// Take is an error.
func (*Predecessor) Take(context.Context) error { return errSystem }

// Close does nothing.
func (*Predecessor) Close() {}
