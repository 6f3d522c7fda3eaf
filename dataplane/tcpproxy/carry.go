package tcpproxy

import "net"

// Carry carries the bytes of one way, as Proxy.Serve does, and tells count of each step. It ends with io.EOF when from has
// ended, else with what failed; it closes neither.
func Carry(to, from net.Conn, count func(int64)) error { return (&pipe{}).carry(to, from, count) }
