package httpproxy

import (
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/format"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// change does a route's changes to a header; nil are none. res is the answer, if it is its header. The order is Envoy's:
// what is removed is gone when the values are made, and all values are made of the header as it is then.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#custom-request-response-headers
func (x *exchange) change(h *message.Header, c *config.HeaderChanges, res *message.Response) {
	if c == nil {
		return
	}
	for _, name := range c.Remove {
		h.Del(name)
	}
	x.values = x.values[:0]
	for i := range c.Add {
		a, value := &c.Add[i], c.Add[i].Value
		if a.Variables != nil {
			value = x.formatted(a.Variables, res)
		}
		x.values = append(x.values, value)
	}
	for i := range c.Add {
		if a := &c.Add[i]; a.Overwrite && (x.values[i] != "" || a.KeepEmpty) {
			h.Del(a.Name)
			h.Add(a.Name, x.values[i])
		}
	}
	for i := range c.Add {
		if a := &c.Add[i]; !a.Overwrite && (x.values[i] != "" || a.KeepEmpty) {
			add(h, a.Name, x.values[i], res != nil)
		}
	}
}

// formatted is a value that has operators in it. What a header cannot hold, such as a server name that a stranger made up,
// is none.
func (x *exchange) formatted(parts []config.Part, res *message.Response) string {
	r := x.record
	if x.describe(&r); res != nil {
		r.Response, r.Status = res, res.Status
	}
	at := len(x.scratch)
	x.scratch = format.Append(x.scratch, parts, &r, "")
	value := x.text(at)
	if !http1.ValidValue(value) {
		return ""
	}
	return value
}
