package httpproxy

import (
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
)

func TestCookie(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"s=1", "1"}, {"a=2; s=1", "1"}, {"a=2;s=1", "1"}, {"s=1; s=2", "1"}, {`s="1"`, "1"}, {`s="`, `"`}, {"s=a=b", "a=b"},
		{"s=", ""}, {"s", ""}, {"S=1", ""}, {"xs=1; sx=1", ""}, {"", ""}, {";;; s=1;", "1"}, {"s =1", ""}, {"a; s=1", "1"},
	} {
		h := message.Header{{Name: "x", Value: "s=9"}, {Name: "Cookie", Value: c.line}}
		if got := cookie(h, "s"); got != c.want {
			t.Errorf("cookie s of %q: got %q, want %q", c.line, got, c.want)
		}
	}
}

func TestQueryParam(t *testing.T) {
	for _, c := range []struct {
		path, want string
		found      bool
	}{
		{"/?u=1", "1", true}, {"/?a=2&u=1", "1", true}, {"/?u=1&u=2", "1", true}, {"/?u", "", true}, {"/?u=", "", true}, {"/?u=a=b", "a=b", true},
		{"/?u=%31", "%31", true}, {"/?&&u=1&", "1", true}, {"/", "", false}, {"/u=1", "", false}, {"/?", "", false}, {"/?U=1&xu=1", "", false}, {"/?a=?u=1", "", false},
	} {
		if got, found := route.QueryValue(c.path, "u"); got != c.want || found != c.found {
			t.Errorf("parameter u of %q: got %q, %v, want %q, %v", c.path, got, found, c.want, c.found)
		}
	}
}

// hashing is an exchange as it is when an endpoint is picked.
func hashing(path string, h ...message.Field) *exchange {
	x := &exchange{req: &message.Request{Authority: "a.example.com", Path: path, Header: h}, c: &Conn{Local: netip.MustParseAddrPort("[2001:db8::1]:80")}}
	x.record.Remote = netip.MustParseAddrPort("192.0.2.1:5000")
	return x
}

func TestHash(t *testing.T) {
	text := balance.HashText
	user, host := config.HashKey{Name: "x-user"}, config.HashKey{Name: "host"}
	query, source := config.HashKey{Kind: config.HashQueryParam, Name: "u"}, config.HashKey{Kind: config.HashSourceAddress}
	made := config.HashKey{Kind: config.HashCookie, Name: "s", MakeCookie: true}
	last := func(k config.HashKey) config.HashKey { k.Terminal = true; return k }
	alice := message.Field{Name: "X-User", Value: "alice"}
	value := hex16(text("192.0.2.1:5000[2001:db8::1]:80"))
	for name, c := range map[string]struct {
		keys  []config.HashKey
		x     *exchange
		want  uint64
		found bool
		made  string
	}{
		"nothing asked":             {nil, hashing("/"), 0, false, ""},
		"nothing there":             {[]config.HashKey{user, query}, hashing("/"), 0, false, ""},
		"a header":                  {[]config.HashKey{user}, hashing("/", alice), text("alice"), true, ""},
		"the host":                  {[]config.HashKey{host}, hashing("/"), text("a.example.com"), true, ""},
		"lines in another order":    {[]config.HashKey{user}, hashing("/", alice, message.Field{Name: "x-user", Value: "Bob"}), balance.HashTexts([]string{"Bob", "alice"}), true, ""},
		"two keys":                  {[]config.HashKey{user, query}, hashing("/?u=1", alice), balance.Combine(text("alice"), text("1")), true, ""},
		"a key that is missing":     {[]config.HashKey{user, query, source}, hashing("/", alice), balance.Combine(text("alice"), text("192.0.2.1")), true, ""},
		"terminal":                  {[]config.HashKey{last(user), query}, hashing("/?u=1", alice), text("alice"), true, ""},
		"terminal, but not there":   {[]config.HashKey{last(user), query}, hashing("/?u=1"), text("1"), true, ""},
		"terminal after another":    {[]config.HashKey{query, last(user), source}, hashing("/?u=1"), text("1"), true, ""},
		"a cookie made":             {[]config.HashKey{made}, hashing("/"), text(value), true, `s="` + value + `"; HttpOnly`},
		"a cookie that need not be": {[]config.HashKey{last(user), made}, hashing("/", alice), text("alice"), true, ""},
		"a cookie that is there":    {[]config.HashKey{made}, hashing("/", message.Field{Name: "cookie", Value: "s=1"}), text("1"), true, ""},
	} {
		got, found := c.x.hash(c.keys)
		if got != c.want || found != c.found || c.x.cookie != c.made {
			t.Errorf("%s: got %x, %v, cookie %q, want %x, %v, %q", name, got, found, c.x.cookie, c.want, c.found, c.made)
		}
	}
}

func TestHashDoesNotAllocate(t *testing.T) {
	x := hashing("/?u=1", message.Field{Name: "x-user", Value: "b"}, message.Field{Name: "x-user", Value: "a"}, message.Field{Name: "cookie", Value: "a=1; s=2"})
	keys := []config.HashKey{{Name: "x-user"}, {Kind: config.HashQueryParam, Name: "u"}, {Kind: config.HashSourceAddress}, {Kind: config.HashCookie, Name: "s", MakeCookie: true}}
	if n := testing.AllocsPerRun(100, func() { x.hash(keys) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
