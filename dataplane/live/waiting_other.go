//go:build !linux

package live

import (
	"errors"
	"time"
)

// parkAfter is 0: without epoll a connection waits in its goroutine.
const parkAfter time.Duration = 0

// waiting is where, on Linux, connections wait without a goroutine.
type waiting struct{}

func (*waiting) add(*conn, time.Time) error { return errors.ErrUnsupported }
func (*waiting) take(*conn) bool            { return false }
func (*waiting) close()                     {}
