package httpproxy

import (
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// maxForwards heeds Max-Forwards of OPTIONS and TRACE (RFC 9110, 7.6.2): each proxy takes one off, and who finds a zero
// answers by itself; true if so. TRACE is not reflected: what proxies before us have added may be secret.
func (x *exchange) maxForwards() (answered bool) {
	if x.req.Method != "OPTIONS" && x.req.Method != "TRACE" {
		return false
	}
	value, ok := x.req.Header.Get("max-forwards")
	if !ok {
		return false
	}
	left, err := strconv.ParseUint(value, 10, 63)
	switch {
	case err != nil:
		// What is no number limits nothing.
		return false
	case left > 0:
		at := len(x.scratch)
		x.scratch = strconv.AppendUint(x.scratch, left-1, 10)
		x.req.Header.Set("Max-Forwards", x.text(at))
		return false
	case x.req.Method == "TRACE":
		x.own(501, "", message.Field{})
	default:
		x.own(200, "", message.Field{})
	}
	return true
}
