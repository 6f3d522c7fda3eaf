package http2

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestInbox: what goes in comes out, in order, whatever the sizes.
func TestInbox(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var b inbox
	var in, out []byte
	next := byte(0)
	for range 2000 {
		piece := make([]byte, random.IntN(20000))
		for i := range piece {
			piece[i] = next
			next++
		}
		b.append(piece)
		in = append(in, piece...)
		for random.IntN(3) > 0 || b.len() > 400<<10 {
			p := make([]byte, random.IntN(30000))
			out = append(out, p[:b.read(p)]...)
		}
		if b.len() != len(in)-len(out) {
			t.Fatalf("%d bytes wait, want %d", b.len(), len(in)-len(out))
		}
		if len(in) > 4<<20 {
			break
		}
	}
	for b.len() > 0 {
		p := make([]byte, 1000)
		out = append(out, p[:b.read(p)]...)
	}
	if !bytes.Equal(in, out) {
		t.Error("what came out is not what went in")
	}
	if b.buf != nil {
		t.Error("an empty inbox holds a buffer")
	}
}
