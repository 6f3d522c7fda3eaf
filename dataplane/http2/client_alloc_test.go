//go:build !race

package http2

import "testing"

// TestExchangeAllocatesNothing is the gate: a plain exchange is of pooled parts alone. (With -race pools drop some.)
func TestExchangeAllocatesNothing(t *testing.T) {
	c := cannedConn(t, 128)
	buf := make([]byte, 4096)
	r := plainRequest()
	if n := testing.AllocsPerRun(2000, func() { plainExchange(t, c, r, buf, 128) }); n >= 1 {
		t.Errorf("%v allocations, want none", n)
	}
}
