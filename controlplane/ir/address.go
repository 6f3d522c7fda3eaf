package ir

import (
	"net/netip"
	"strconv"
	"strings"
)

// Address is where an endpoint answers: an IP address and a port, a name and a port, SRV records, or a unix socket. It is
// comparable.
type Address struct {
	netip.AddrPort
	// Path is a unix socket's: absolute, or '@' and a name in Linux's abstract namespace. At most MaxSocketPath bytes.
	Path string
	// Host is a name that the proxy looks up, in lower case, and NamedPort its port.
	Host      string
	NamedPort uint16
	// Records is the name of SRV records (RFC 2782), in lower case: controlplane/srv puts their servers in its place.
	Records string
}

// MaxSocketPath is how long a unix socket's path may be, in bytes: sockaddr_un's 108 without the NUL.
const MaxSocketPath = 107

// String is "192.0.2.1:80", "[2001:db8::1]:80", "app.internal:80", "srv:_http._tcp.app.internal" or "unix:/run/app.sock", as
// the language has it.
func (a Address) String() string {
	if a.Path != "" {
		return "unix:" + a.Path
	}
	if a.Host != "" {
		return a.Host + ":" + strconv.Itoa(int(a.NamedPort))
	}
	if a.Records != "" {
		return "srv:" + a.Records
	}
	return a.AddrPort.String()
}

// MarshalText is String, of what is listened on: an embedded AddrPort would leave the path out.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a = Address{}
	if path, ok := strings.CutPrefix(string(text), "unix:"); ok {
		a.Path = path
		return nil
	}
	a.AddrPort, err = netip.ParseAddrPort(string(text))
	return err
}
