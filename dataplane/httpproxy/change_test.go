package httpproxy

import (
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
	for name, test := range map[string]struct {
		changes *config.HeaderChanges
		want    string
	}{
		"none":     {nil, "[{A 1} {b 2} {a 3}]"},
		"remove":   {&config.HeaderChanges{Remove: []string{"a", "c"}}, "[{b 2}]"},
		"set":      {&config.HeaderChanges{Add: []config.HeaderChange{set("a", "x")}}, "[{b 2} {a x}]"},
		"add":      {&config.HeaderChanges{Add: []config.HeaderChange{add("a", "x")}}, "[{A 1} {b 2} {a 3} {a x}]"},
		"in order": {&config.HeaderChanges{Remove: []string{"b"}, Add: []config.HeaderChange{add("b", "x"), set("b", "y"), add("b", "z")}}, "[{A 1} {a 3} {b y} {b z}]"},
	} {
		h := message.Header{{Name: "A", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
		change(&h, test.changes)
		if got := fmt.Sprint(h); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
