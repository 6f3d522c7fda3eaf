package ir

import "net/netip"

// Address is where an endpoint answers: an IP address and a port, or else a unix socket. It is comparable.
type Address struct {
	netip.AddrPort
	// Path is a unix socket's: absolute, or '@' and a name in Linux's abstract namespace. At most MaxSocketPath bytes.
	Path string
}

// MaxSocketPath is how long a unix socket's path may be, in bytes: sockaddr_un's 108 without the NUL.
const MaxSocketPath = 107

// String is "192.0.2.1:80", "[2001:db8::1]:80" or "unix:/run/app.sock", as the language has it.
func (a Address) String() string {
	if a.Path != "" {
		return "unix:" + a.Path
	}
	return a.AddrPort.String()
}
