package config

import "net/netip"

// Address is where an endpoint listens: an IP address and a port, or else a unix socket. It is comparable.
type Address struct {
	netip.AddrPort
	// Path is a unix socket's; AddrPort is zero then.
	Path string
}

// At is an IP address and a port.
func At(a netip.AddrPort) Address { return Address{AddrPort: a} }

// Network is what package net calls it: "tcp" or "unix".
func (a Address) Network() string {
	if a.Path != "" {
		return "unix"
	}
	return "tcp"
}

// String is "192.0.2.1:80", "[2001:db8::1]:80", or a unix socket's path, as Envoy writes them.
func (a Address) String() string {
	if a.Path != "" {
		return a.Path
	}
	return a.AddrPort.String()
}

// IsValid tells whether it is an address at all.
func (a Address) IsValid() bool { return a.Path != "" || a.AddrPort.IsValid() }
