package httpproxy

import (
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// fragile is a stream that panics when an answer is to be sent on.
type fragile struct{ *http1.ServerStream }

func (fragile) Respond(*message.Response, bool) error { panic("a fault of ours") }

// A panic in the middle of an exchange leaves nothing behind: no count, no alarm, no connection to an upstream. The rig
// looks at the counts when it closes.
func TestPanicSettles(t *testing.T) {
	gone := make(chan struct{})
	panicked := make(chan any, 1)
	r := newRig(t, func(_ string, c *originConn) {
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		c.drain()
		close(gone)
	}, func(r *rig) {
		r.wrap = func(s *http1.ServerStream) Stream { return fragile{s} }
		r.panicked = func(value any) { panicked <- value }
	})
	r.dial().say(get("/")).ended()
	if value := <-panicked; value != "a fault of ours" {
		t.Errorf("got the panic %v", value)
	}
	<-gone // the upstream connection is closed at once, not when the alarm rings
	if n := r.proxy.stats.RequestsActive.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}
