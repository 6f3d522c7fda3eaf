//go:build !linux

package splice

import (
	"errors"
	"net"
)

// Way is one direction between two sockets; there is none on this system.
type Way struct{}

func newWay(net.Conn, net.Conn) *Way { return nil }

// Move is never called.
func (*Way) Move(int64) (int64, error) { return 0, errors.ErrUnsupported }
