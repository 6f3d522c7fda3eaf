package ir

import (
	"encoding/json"
	"net/netip"
	"testing"
)

// TestAddressText: the store keeps addresses as text, those of unix sockets too.
func TestAddressText(t *testing.T) {
	for want, a := range map[string]Address{
		`"192.0.2.1:80"`:       {AddrPort: netip.MustParseAddrPort("192.0.2.1:80")},
		`"[2001:db8::1]:80"`:   {AddrPort: netip.MustParseAddrPort("[2001:db8::1]:80")},
		`"unix:/run/a b.sock"`: {Path: "/run/a b.sock"},
		`"unix:@name"`:         {Path: "@name"},
	} {
		text, err := json.Marshal(a)
		if err != nil || string(text) != want {
			t.Errorf("got %s and %v, want %s", text, err, want)
		}
		back := Address{Path: "old"}
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Errorf("%s: got %v and %v, want %v", want, back, err, a)
		}
	}
	if err := json.Unmarshal([]byte(`"nowhere"`), new(Address)); err == nil {
		t.Error("nowhere is an address")
	}
}
