package httpproxy

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func TestChange(t *testing.T) {
	set := func(name, value string) config.HeaderChange {
		return config.HeaderChange{Name: name, Value: value, Overwrite: true}
	}
	add := func(name, value string) config.HeaderChange { return config.HeaderChange{Name: name, Value: value} }
	variable := func(name, operator, arg string) config.HeaderChange {
		return config.HeaderChange{Name: name, Variables: []config.Part{{Name: operator, Arg: arg}}}
	}
	replace := func(c config.HeaderChange) config.HeaderChange { c.Overwrite = true; return c }
	keep := func(c config.HeaderChange) config.HeaderChange { c.KeepEmpty = true; return c }
	for name, test := range map[string]struct {
		changes *config.HeaderChanges
		want    string
	}{
		"none":            {nil, "[{A 1} {b 2} {a 3}]"},
		"remove":          {&config.HeaderChanges{Remove: []string{"a", "c"}}, "[{b 2}]"},
		"set":             {&config.HeaderChanges{Add: []config.HeaderChange{set("a", "x")}}, "[{b 2} {a x}]"},
		"add":             {&config.HeaderChanges{Add: []config.HeaderChange{add("a", "x")}}, "[{A 1} {b 2} {a 3} {a x}]"},
		"add to one line": {&config.HeaderChanges{Remove: []string{"b"}, Add: []config.HeaderChange{add("accept", "x"), add("Accept", "y")}}, "[{A 1} {a 3} {accept x,y}]"},
		// As with Envoy: what overwrites goes first.
		"in order": {&config.HeaderChanges{Remove: []string{"b"}, Add: []config.HeaderChange{add("b", "x"), set("b", "y"), add("b", "z")}}, "[{A 1} {a 3} {b y} {b x} {b z}]"},
		"of what there is": {&config.HeaderChanges{Remove: []string{"b"}, Add: []config.HeaderChange{
			set("a", "x"), variable("c", "REQ", "a"), variable("d", "REQ", "b"), variable("b", "REQ", "A"),
		}}, "[{a x} {c 1} {b 1}]"},
		"empty":      {&config.HeaderChanges{Add: []config.HeaderChange{replace(variable("a", "REQ", "none"))}}, "[{A 1} {b 2} {a 3}]"},
		"empty kept": {&config.HeaderChanges{Add: []config.HeaderChange{keep(replace(variable("a", "REQ", "none")))}}, "[{b 2} {a }]"},
		"line ends":  {&config.HeaderChanges{Add: []config.HeaderChange{variable("c", "REQUESTED_SERVER_NAME", "")}}, "[{A 1} {b 2} {a 3}]"},
	} {
		h := message.Header{{Name: "A", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
		x := &exchange{c: &Conn{TLS: &tls.ConnectionState{ServerName: "a\r\nb: c"}}}
		x.record.Request = &message.Request{Header: h}
		x.change(&x.record.Request.Header, test.changes, nil)
		h = x.record.Request.Header
		if got := fmt.Sprint(h); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// A literal value costs nothing.
func TestChangeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	changes := &config.HeaderChanges{Remove: []string{"b"}, Add: []config.HeaderChange{
		{Name: "a", Value: "x", Overwrite: true}, {Name: "c", Value: "y"},
	}}
	x := &exchange{c: &Conn{}}
	h := make(message.Header, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		h = append(h[:0], message.Field{Name: "A", Value: "1"}, message.Field{Name: "b", Value: "2"})
		x.change(&h, changes, nil)
	}); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
