//go:build !unix

package tcpproxy

// listen does nothing: elsewhere a source waits with its buffer.
func (s *source) listen() {}
