package definition

import (
	"bytes"
	"strings"
	"testing"
)

// TestPanic: a document at which we fail is told in its place, and the others are there.
func TestPanic(t *testing.T) {
	failAt = func(text []byte) {
		if bytes.Contains(text, []byte("fatal")) {
			panic("index out of range")
		}
	}
	defer func() { failAt = nil }()
	documents, problems := Parse("a.yaml", []byte("{kind: Service, name: a, endpoints: [10.0.0.1:80]}\n---\nkind: Service\nname: fatal\n---\n{kind: Service, name: b, endpoints: [10.0.0.1:80]}\n"))
	if len(documents) != 2 || len(problems) != 1 || problems[0].Code != CodePanic || problems[0].Line != 3 || problems[0].Ref != (Ref{"Service", "fatal"}) ||
		!strings.Contains(problems[0].Message, "index out of range") {
		t.Errorf("got %d documents and\n%s", len(documents), list(problems))
	}
}
