package definition

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// ParseAddress reads an endpoint's address: IP:port; localhost:port, which is 127.0.0.1; name:port; srv:name; or unix:/path.
func ParseAddress(address string) (ir.Address, error) {
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		return ir.Address{Path: socket}, checkSocketPath(socket)
	}
	if name, ok := strings.CutPrefix(address, "srv:"); ok && (name == "" || strings.Trim(name, "0123456789") != "") { // srv:80 is a host of that name
		return parseRecords(name)
	}
	if port, ok := strings.CutPrefix(address, "localhost:"); ok {
		address = "127.0.0.1:" + port
	}
	parsed, err := netip.ParseAddrPort(address)
	switch {
	case err != nil && looksLikeHost(address):
		return parseNamed(address)
	case err != nil:
		return ir.Address{}, fmt.Errorf("got %q, want %s", shorten(address), wantedAddress)
	case parsed.Port() == 0:
		return ir.Address{}, fmt.Errorf("got port 0, want 1 to 65535")
	case parsed.Addr().Zone() != "":
		return ir.Address{}, fmt.Errorf("got a zone in %q, want an IP address without one", address)
	case parsed.Addr().Is4In6():
		return ir.Address{}, fmt.Errorf("got %q, want it as IPv4: %s", address, netip.AddrPortFrom(parsed.Addr().Unmap(), parsed.Port()))
	}
	return ir.Address{AddrPort: parsed}, nil
}

// hostName is what DNS can hold (RFC 1035, 2.3.4), with the underscores that some names have. The last label is no number:
// that would be an IP address that is misspelt.
var hostName = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_-]*[a-zA-Z][a-zA-Z0-9_-]*\.?$`)

func parseNamed(address string) (ir.Address, error) {
	host, text, _ := strings.Cut(address, ":")
	port, err := strconv.ParseUint(text, 10, 16)
	switch {
	case text == "":
		return ir.Address{}, fmt.Errorf("got no port in %q, want name:port such as app.internal:8080", shorten(address))
	case err != nil || port == 0:
		return ir.Address{}, fmt.Errorf("got port %q, want 1 to 65535", shorten(text))
	case !nameable(host):
		return ir.Address{}, fmt.Errorf("got the name %q, want one that DNS can hold, such as app.internal", shorten(host))
	}
	return ir.Address{Host: strings.ToLower(host), NamedPort: uint16(port)}, nil
}

// nameable tells whether DNS can hold a name.
func nameable(host string) bool {
	label := strings.TrimSuffix(host, ".")
	label = label[strings.LastIndexByte(label, '.')+1:]
	return len(host) <= 253 && len(label) <= 63 && hostName.MatchString(host)
}

// parseRecords reads the name of SRV records. It need not be _service._proto.name, as RFC 2782 has it: some registries
// answer for web.service.consul, too.
func parseRecords(name string) (ir.Address, error) {
	switch host, _, port := strings.Cut(name, ":"); {
	case port && nameable(host):
		return ir.Address{}, fmt.Errorf("got a port in %q, want srv:%s: the records have ports", shorten("srv:"+name), host)
	case !nameable(name):
		return ir.Address{}, fmt.Errorf("got the name %q, want one that DNS can hold, such as srv:_http._tcp.app.internal", shorten(name))
	}
	return ir.Address{Records: strings.ToLower(name)}, nil
}

// checkSocketPath looks for paths that no unix socket can have, or that would be one socket under two names. "@name" is
// in Linux's abstract namespace.
func checkSocketPath(socket string) error {
	name, abstract := strings.CutPrefix(socket, "@")
	switch {
	case len(socket) > ir.MaxSocketPath:
		return fmt.Errorf("got a path of %d bytes, want at most %d: the system has no room for more", len(socket), ir.MaxSocketPath)
	case strings.ContainsFunc(socket, unicode.IsControl):
		return fmt.Errorf("got control characters in the path %q, want none", shorten(socket))
	case abstract && name == "":
		return fmt.Errorf("got no name after the @, want unix:@name")
	case !abstract && (!strings.HasPrefix(socket, "/") || strings.HasSuffix(socket, "/")):
		return fmt.Errorf("got the path %q, want the absolute one of a socket: the proxy may run in another folder, or on another machine", shorten(socket))
	case !abstract && path.Clean(socket) != socket:
		return fmt.Errorf("got the path %q, want it without //, . and ..: %s", shorten(socket), shorten(path.Clean(socket)))
	}
	return nil
}

// looksLikeHost tells api.example.com:80, or api alone, from an IP address that is misspelt.
func looksLikeHost(address string) bool {
	host, _, _ := strings.Cut(address, ":")
	return strings.ContainsFunc(host, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }) &&
		strings.Count(address, ":") < 2
}
