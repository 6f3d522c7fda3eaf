package http2

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// coder holds our encoder against x/net's decoder.
type coder struct {
	encoder
	decoder *hpack.Decoder
	got     []hpack.HeaderField
}

func newCoder() *coder {
	c := &coder{}
	c.init()
	c.decoder = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { c.got = append(c.got, f) })
	return c
}

// section encodes fields, and returns what is decoded, and its length on the wire.
func (c *coder) section(t *testing.T, fields ...string) (string, int) {
	t.Helper()
	block := c.begin(nil)
	for i := 0; i < len(fields); i += 2 {
		block = c.field(block, fields[i], fields[i+1])
	}
	c.got = nil
	if _, err := c.decoder.Write(block); err != nil {
		t.Fatalf("% x: %v", block, err)
	}
	if err := c.decoder.Close(); err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, f := range c.got {
		s = append(s, f.Name, f.Value)
	}
	return strings.Join(s, "|"), len(block)
}

// TestEncoder: what is met again costs a byte, what is secret never stands in a table.
func TestEncoder(t *testing.T) {
	// Fields whose hashes share a slot push each other out: not these two, please.
	slot := func(name, value string) uint64 {
		return (maphash.String(hashSeed, name)*31 + maphash.String(hashSeed, value)) % slots
	}
	for slot("server", "sluice") == slot("x-one", "a") {
		hashSeed = maphash.MakeSeed()
	}
	c := newCoder()
	for _, test := range []struct {
		name   string
		fields []string
		bytes  int
	}{
		{"static", []string{":status", "200", ":method", "GET", ":path", "/", ":scheme", "https", "accept-encoding", "gzip, deflate"}, 5},
		{"static name", []string{"Server", "sluice"}, 9},
		{"again, into the table", []string{"server", "sluice"}, 6},
		{"from the table", []string{"SERVER", "sluice"}, 1},
		{"a name of its own", []string{"X-One", "a"}, 9},
		{"again", []string{"x-one", "a"}, 8},
		{"from the table, the older first", []string{"server", "sluice", "x-one", "a"}, 2},
		{"secret", []string{"set-cookie", "a=1"}, 6},
		{"secret again", []string{"set-cookie", "a=1"}, 6},
		{"secret a third time", []string{"set-cookie", "a=1"}, 6},
		{"short cookie", []string{"cookie", "a=1", "cookie", "a=1", "cookie", "a=1"}, 18},
		{"large", []string{"x", strings.Repeat("v", 3000), "x", strings.Repeat("v", 3000)}, 2 * 3006},
	} {
		got, n := c.section(t, test.fields...)
		var want []string
		for i, s := range test.fields {
			if i%2 == 0 {
				s = strings.ToLower(s)
			}
			want = append(want, s)
		}
		if got != strings.Join(want, "|") || n != test.bytes {
			t.Errorf("%s: got %s in %d bytes, want %d", test.name, got, n, test.bytes)
		}
	}
}

// TestTableSize: the peer's SETTINGS_HEADER_TABLE_SIZE is announced, with the smallest it was (RFC 7541, 4.2).
func TestTableSize(t *testing.T) {
	c := newCoder()
	repeat := func(want int) {
		t.Helper()
		if _, n := c.section(t, "server", "sluice"); n != want {
			t.Errorf("%d bytes, want %d", n, want)
		}
	}
	repeat(9)
	repeat(6)
	repeat(1)
	c.resize(0)
	repeat(10) // with one byte for the size
	repeat(9)
	c.resize(100)
	repeat(8)
	repeat(1)
	c.resize(10)
	c.resize(1 << 30) // more than we use
	repeat(10)        // 1 for the smallest, 3 for ours
	repeat(1)
	c.forget()
	repeat(10)
	repeat(1)
}

// TestEncoderAtRandom: whatever is sent, sizes changing, x/net's decoder reads the same.
func TestEncoderAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := newCoder()
	for range 20_000 {
		if random.IntN(50) == 0 {
			c.resize(uint32(random.IntN(6000)))
		}
		var fields []string
		for range 1 + random.IntN(6) {
			name := fmt.Sprintf("x-%d", random.IntN(40))
			if random.IntN(3) == 0 {
				name = "etag"
			}
			fields = append(fields, name, strings.Repeat("v", random.IntN(300)*random.IntN(2))+fmt.Sprint(random.IntN(4)))
		}
		if got, _ := c.section(t, fields...); got != strings.Join(fields, "|") {
			t.Fatalf("got %s, want %s", got, fields)
		}
	}
}

// TestStaticTable holds ours against x/net's.
func TestStaticTable(t *testing.T) {
	d := hpack.NewDecoder(0, nil)
	seen := map[string]bool{}
	for i := 1; i <= staticFields; i++ {
		fields, err := d.DecodeFull(appendInteger(nil, 0x80, 7, uint64(i)))
		if err != nil {
			t.Fatal(err)
		}
		name, value := fields[0].Name, fields[0].Value
		index, whole := static(name, value)
		if value != "" && (!whole || index != uint64(i)) {
			t.Errorf("%s %s is %d, want %d", name, value, index, i)
		}
		if !seen[name] && int(staticNames[name]) != i {
			t.Errorf("%s is %d, want %d", name, staticNames[name], i)
		}
		seen[name] = true
	}
	if len(seen) != len(staticNames) {
		t.Errorf("%d names, want %d", len(staticNames), len(seen))
	}
	if got := appendInteger(nil, 0, 5, 1337); !bytes.Equal(got, []byte{31, 154, 10}) {
		t.Errorf("% x (RFC 7541, C.1.2)", got)
	}
}
