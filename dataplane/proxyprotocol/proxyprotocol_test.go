package proxyprotocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// v2 is a header of version 2.
func v2(command, family byte, rest string) string {
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

const (
	four = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x00\x50" // 192.0.2.1:1234 to 192.0.2.2:80
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x00\x50"
)

// summed is a header with a sum of its own at its end, to which something is added.
func summed(add uint32) string {
	b := []byte(v2(commandProxy, tcp4, four+"\x03\x00\x04\x00\x00\x00\x00"))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))+add)
	return string(b)
}

var cases = []struct{ name, bytes, want string }{
	{"tcp4", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n", "192.0.2.1:1234 192.0.2.2:80"},
	{"tcp6", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n", "[2001:db8::1]:1234 [2001:db8::2]:80"},
	{"longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"mapped", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 0 0\r\n", "192.0.2.1:0 192.0.2.2:0"},
	{"unknown", "PROXY UNKNOWN\r\n", "own"},
	{"unknown with words", "PROXY UNKNOWN ffff::1 what 1 2\r\n", "own"},
	{"no protocol", "PROXY \r\n", "want TCP4"},
	{"udp", "PROXY UDP4 192.0.2.1 192.0.2.2 1234 80\r\n", "want TCP4"},
	{"lower case", "PROXY tcp4 192.0.2.1 192.0.2.2 1234 80\r\n", "want TCP4"},
	{"too few words", "PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n", "want TCP4"},
	{"too many words", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80 \r\n", "want TCP4"},
	{"two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1234 80\r\n", "want TCP4"},
	{"wrong family", "PROXY TCP4 2001:db8::1 192.0.2.2 1234 80\r\n", "got address"},
	{"wrong family 6", "PROXY TCP6 2001:db8::1 192.0.2.2 1234 80\r\n", "got address"},
	{"leading zero", "PROXY TCP4 192.0.2.01 192.0.2.2 1234 80\r\n", "got address"},
	{"zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1234 80\r\n", "got address"},
	{"port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n", "got port"},
	{"port with a sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n", "got port"},
	{"port with a zero", "PROXY TCP4 192.0.2.1 192.0.2.2 1 080\r\n", "got port"},
	{"lone LF", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\n", "a lone CR or LF"},
	{"lone CR", "PROXY TCP4 192.0.2.1 192.0.2.2 1234\r80\r\n", "a lone CR or LF"},
	{"no end", "PROXY UNKNOWN " + strings.Repeat("x", 100), "no end of line within 107"},

	{"v2 tcp4", v2(commandProxy, tcp4, four), "192.0.2.1:1234 192.0.2.2:80"},
	{"v2 tcp6", v2(commandProxy, tcp6, six), "[2001:db8::1]:1234 [2001:db8::2]:80"},
	{"v2 with TLVs", v2(commandProxy, tcp4, four+"\x04\x00\x00"+"\xea\x00\x05hello"), "192.0.2.1:1234 192.0.2.2:80"},
	{"v2 with a sum", summed(0), "192.0.2.1:1234 192.0.2.2:80"},
	{"v2 with a wrong sum", summed(1), "got a sum"},
	{"v2 with a short sum", v2(commandProxy, tcp4, four+"\x03\x00\x03abc"), "got a sum"},
	{"v2 local", v2(commandLocal, unspecified, ""), "own"},
	{"v2 local with addresses", v2(commandLocal, tcp4, four), "own"},
	{"v2 local with anything", v2(commandLocal, 0x77, "anything"), "own"},
	{"v2 unspecified", v2(commandProxy, unspecified, "anything"), "want TCP over IPv4"},
	{"v2 udp", v2(commandProxy, 0x12, four), "want TCP over IPv4"},
	{"v2 unix", v2(commandProxy, 0x31, strings.Repeat("x", 216)), "want TCP over IPv4"},
	{"v2 version", v2(0x11, tcp4, four), "got version and command 0x11"},
	{"v2 command", v2(0x22, tcp4, four), "got version and command 0x22"},
	{"v2 short", v2(commandProxy, tcp4, four[:11]), "got 11 bytes of addresses, want 12"},
	{"v2 short 6", v2(commandProxy, tcp6, four), "got 12 bytes of addresses, want 36"},
	{"v2 TLV cut", v2(commandProxy, tcp4, four+"\xea\x00"), "a TLV without a length"},
	{"v2 TLV too long", v2(commandProxy, tcp4, four+"\xea\x00\x02x"), "a TLV of 2 bytes, where 1 are left"},
	{"v2 longest", v2(commandProxy, tcp4, four+"\xea"+string(binary.BigEndian.AppendUint16(nil, MaxLength-31))+strings.Repeat("x", MaxLength-31)),
		"192.0.2.1:1234 192.0.2.2:80"},
	{"v2 too long", v2(commandProxy, tcp4, strings.Repeat("x", MaxLength-15)), "got a header of 4097 bytes"},

	{"HTTP", "GET / HTTP/1.1\r\n", "no header"},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no header"},
	{"TLS", "\x16\x03\x01", "no header"},
	{"PROXYS", "PROXYS", "no header"},
	{"nearly a signature", "\r\n\r\n\x00\r\nQUIT\r", "no header"},
}

// TestParse: every case, with something behind it, and in every cut: what is cut is waited for, or known to be wrong.
func TestParse(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			whole, length := parsed(t, test.bytes+"\r\nGET")
			if !strings.Contains(whole, test.want) {
				t.Errorf("got %s, want %s", whole, test.want)
			}
			if length > 0 && length != len(test.bytes) {
				t.Errorf("got a length of %d, want %d", length, len(test.bytes))
			}
			for i := range len(test.bytes) {
				if cut, n := parsed(t, test.bytes[:i]); n != 0 || cut != "more" && cut != whole {
					t.Errorf("%d bytes: got %s (%d), want more or %s", i, cut, n, whole)
				}
			}
		})
	}
}

// parsed is what Parse says, as text.
func parsed(t testing.TB, b string) (string, int) {
	t.Helper()
	h, n, err := Parse([]byte(b))
	switch {
	case err != nil:
		if n != 0 || h != (Header{}) {
			t.Errorf("got %v, %d and an error", h, n)
		}
		return err.Error(), 0
	case n == 0:
		if len(b) >= MaxLength {
			t.Errorf("%d bytes are not enough", len(b))
		}
		return "more", 0
	case !h.Source.IsValid() && !h.Destination.IsValid():
		return "own", n
	}
	return fmt.Sprint(h.Source, " ", h.Destination), n
}

func TestAppend(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, test := range []struct {
		name           string
		header         Header
		wantV1, wantV2 string
	}{
		{"ipv4", Header{at("192.0.2.1:1234"), at("192.0.2.2:80")}, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n", v2(commandProxy, tcp4, four)},
		{"ipv6", Header{at("[2001:db8::1]:1234"), at("[2001:db8::2]:80")}, "PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n", v2(commandProxy, tcp6, six)},
		{"mapped", Header{at("[::ffff:192.0.2.1]:1234"), at("192.0.2.2:80")}, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n", v2(commandProxy, tcp4, four)},
		{"zone", Header{at("[2001:db8::1%eth0]:1234"), at("[2001:db8::2]:80")}, "PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n", v2(commandProxy, tcp6, six)},
		{"mixed", Header{at("192.0.2.1:1234"), at("[2001:db8::2]:80")}, "PROXY UNKNOWN\r\n", v2(commandLocal, unspecified, "")},
		{"none", Header{}, "PROXY UNKNOWN\r\n", v2(commandLocal, unspecified, "")},
	} {
		if got := string(AppendV1([]byte("x"), test.header)); got != "x"+test.wantV1 {
			t.Errorf("%s: got %q, want %q", test.name, got, test.wantV1)
		}
		if got := string(AppendV2([]byte("x"), test.header)); got != "x"+test.wantV2 {
			t.Errorf("%s: got %q, want %q", test.name, got, test.wantV2)
		}
	}
}

// FuzzHeader: a header means the same however it is cut and whatever is behind it, never more than MaxLength bytes are
// asked for, and what is understood can be written in both versions and is understood again.
func FuzzHeader(f *testing.F) {
	for _, test := range cases {
		f.Add([]byte(test.bytes), uint16(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		whole, n := parsed(t, string(data))
		if at := int(cut); at < len(data) {
			short, m := parsed(t, string(data[:at]))
			switch {
			case short == "more":
			case short != whole || m != n:
				t.Fatalf("%d of %d bytes: got %s (%d), all of them: %s (%d)", at, len(data), short, m, whole, n)
			}
			if n > 0 && at < n && short != "more" {
				t.Fatalf("%d bytes of a header of %d: got %s", at, n, short)
			}
		}
		if n == 0 {
			return
		}
		if n > MaxLength || n > len(data) {
			t.Fatalf("got a length of %d", n)
		}
		h, _, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		same := h.Source.Addr().Is4() == h.Destination.Addr().Is4()
		for _, again := range [][]byte{AppendV1(nil, h), AppendV2(nil, h)} {
			back, length, err := Parse(again)
			if err != nil || length != len(again) || same && back != h || !same && back != (Header{}) {
				t.Fatalf("%q: got %v, %d, %v, want %v", again, back, length, err, h)
			}
		}
		if _, _, err := Parse(data[n:]); err != nil && !errors.Is(err, ErrNone) && n == len(data) {
			t.Fatal(err)
		}
	})
}
