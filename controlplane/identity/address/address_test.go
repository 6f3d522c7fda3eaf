package address

import (
	"net"
	"testing"
)

func TestOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64", "::ffff:192.0.2.1": "192.0.2.1",
	} {
		if got := Of(&net.TCPAddr{IP: net.ParseIP(in), Port: 1}); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	for want, in := range map[string]net.Addr{"": nil, "/run/a.sock": &net.UnixAddr{Name: "/run/a.sock"}, "fe80::/64": &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}} {
		if got := Of(in); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
}
