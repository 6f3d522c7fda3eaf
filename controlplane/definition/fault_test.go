package definition

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestFault: a panic while a document is read is a problem of that document, and the others are read.
func TestFault(t *testing.T) {
	Kinds = append(Kinds, Kind{Name: "Broken", New: func() proto.Message { panic("no such thing") }})
	defer func() { Kinds = Kinds[:len(Kinds)-1] }()
	const service = "kind: Service\nname: a\nendpoints: [127.0.0.1:1]\n"
	documents, problems := Parse("x.yaml", []byte(service+"---\nkind: Broken\nname: b\n---\n"+strings.Replace(service, "name: a", "name: c", 1)))
	if len(documents) != 2 || documents[0].Ref.Name != "a" || documents[1].Ref.Name != "c" {
		t.Errorf("got %d documents, want a and c", len(documents))
	}
	if len(problems) != 1 {
		t.Fatalf("got %s, want one problem", list(problems))
	}
	p := problems[0]
	if p.Code != CodeFault || p.Ref != (Ref{"Broken", "b"}) || p.Line != 5 || p.Severity != SeverityError {
		t.Errorf("got %+v, want the fault, of Broken b in line 5", p)
	}
	for _, want := range []string{"no such thing", "definition/fault_test.go:", "definition/parse.go:"} {
		if !strings.Contains(p.Message, want) {
			t.Errorf("got %q, want %q in it", p.Message, want)
		}
	}
}
