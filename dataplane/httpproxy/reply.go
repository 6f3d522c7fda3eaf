package httpproxy

import (
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/format"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
)

const noAnswer = "upstream connect error or disconnect/reset before headers. reset reason: "

// texts are what the client is told, word for word as Envoy does, so that who looks for one of them finds it with
// both. A kind that is not here has an empty body.
var texts = map[failure.Kind]string{
	failure.BadRequest:      "",
	failure.Overloaded:      "envoy overloaded",
	failure.NoEndpoint:      "no healthy upstream",
	failure.Overflow:        noAnswer + "overflow",
	failure.ConnectFailed:   noAnswer + "remote connection failure",
	failure.ConnectTimeout:  noAnswer + "connection timeout",
	failure.Reset:           noAnswer + "connection termination",
	failure.StreamReset:     noAnswer + "remote reset",
	failure.BadResponse:     noAnswer + "protocol error",
	failure.ResponseTimeout: "upstream request timeout",
	failure.TryTimeout:      "upstream request timeout",
	failure.StreamIdle:      "stream timeout",
	failure.RequestIdle:     "stream timeout",
	failure.RequestTimeout:  "request timeout",
}

// reply answers for a failure; if an answer has begun, it is left unfinished, which the codecs make visible. (In HTTP/1 one
// that has all of its length is whole to the client, whatever is made visible.)
func (x *exchange) reply(why *failure.Error) {
	status := why.Status()
	if x.responded || status == 0 {
		return
	}
	text := texts[why.Kind]
	if why.Kind == failure.BadRequest && x.pump != nil {
		// The request's body broke the protocol: the codec's own refusal.
		text = http1.Reason(status)
	}
	x.own(status, text, message.Field{})
}

// own sends an answer of the proxy itself.
func (x *exchange) own(status int, body string, extra message.Field) {
	res := &x.local
	*res = message.Response{Proto: message.HTTP11, Status: status, Header: x.fields[:0], ContentLength: int64(len(body))}
	if extra.Name != "" {
		res.Header = append(res.Header, extra)
	}
	if body != "" {
		res.Header = append(res.Header, message.Field{Name: "content-type", Value: "text/plain"})
	}
	x.change(&res.Header, x.changes, res)
	if s, ok := x.s.(interface{ Discard() }); ok && x.hasBody && x.pump == nil && status < 400 {
		s.Discard()
	}
	if x.grpc {
		x.grpcAnswer(res, body)
		body = ""
	}
	x.commonHeader(res)
	if !x.startAnswer(res, body == "") {
		x.sendFailed()
		return
	}
	if body != "" && x.req.Method != "HEAD" {
		x.sent += int64(len(body))
		if _, err := x.s.Write([]byte(body)); err != nil {
			x.sendErr = err
			x.sendFailed()
			return
		}
	}
	if !x.finishAnswer(nil) {
		x.sendFailed()
	}
}

// sendFailed notes a client that did not take our own answer.
func (x *exchange) sendFailed() { x.failed(x.because(x.sendErr)) }

func (x *exchange) redirect(r *config.Route) {
	status := r.Redirect.Status
	if status == 0 {
		status = 301
	}
	x.located(status, "", r)
}

// here is a redirect to where the request is.
var here = &config.Route{Redirect: &config.Redirect{}}

// respondDirect answers what a route says. As with Envoy, what was made or moved is at the request's own URL, unless the
// route's changes say otherwise.
func (x *exchange) respondDirect(r *config.Response) {
	if r.Status == 201 || r.Status/100 == 3 {
		x.located(r.Status, r.Body, here)
		return
	}
	x.own(r.Status, r.Body, message.Field{})
}

// located answers with the Location of a redirect.
func (x *exchange) located(status int, body string, r *config.Route) {
	location := route.Location(r, x.req)
	if !http1.ValidValue(location) {
		x.failed(failure.Newf(failure.BadRequest, "location"))
		x.own(400, "", message.Field{})
		return
	}
	x.own(status, body, message.Field{Name: "location", Value: location})
}

// startAnswer sends the final head.
func (x *exchange) startAnswer(res *message.Response, end bool) bool {
	x.mu.Lock()
	x.begun = true
	x.mu.Unlock()
	if err := x.s.Respond(res, end); err != nil {
		x.sendErr = err
		return false
	}
	x.responded = true
	x.record.Response = res
	x.record.Status = res.Status
	return true
}

// finishAnswer ends the answer.
func (x *exchange) finishAnswer(trailer message.Header) bool {
	if err := x.s.End(trailer); err != nil {
		x.sendErr = err
		return false
	}
	return true
}

// failed notes a failure for the log.
func (x *exchange) failed(why *failure.Error) {
	x.record.Flags = why.Flag()
	x.record.Details = why.Error()
}

// count counts for the cluster.
func (x *exchange) count(stats *cluster.Stats, e *cluster.Endpoint, why *failure.Error) {
	stats.BytesSent.Add(x.received)
	stats.BytesReceived.Add(x.sent)
	if x.responded {
		stats.Status[min(x.record.Status/100, 5)].Add(1)
	}
	if why != nil && e != nil {
		x.countFailure(stats, e, why)
	}
}

// countFailure counts a try that failed.
func (x *exchange) countFailure(stats *cluster.Stats, e *cluster.Endpoint, why *failure.Error) {
	switch why.Kind {
	case failure.Reset, failure.StreamReset, failure.BadResponse:
		stats.Resets.Add(1)
		e.Failures.Add(1)
	case failure.ConnectFailed, failure.ConnectTimeout:
		e.Failures.Add(1)
	case failure.ResponseTimeout, failure.StreamIdle, failure.TryTimeout:
		stats.Timeouts.Add(1)
		e.Failures.Add(1)
	}
}

// log writes the record. Everything it needs is asked for here, and only if somebody listens.
func (x *exchange) log() {
	logs := x.p.options.Logs
	if len(logs) == 0 {
		return
	}
	r := &x.record
	if x.flag != "" {
		r.Flags = withFlag(r.Flags, x.flag)
	}
	r.Duration = x.elapsed()
	r.BytesReceived, r.BytesSent = x.received, x.sent
	x.describe(r)
	for _, l := range logs {
		l.Log(r)
	}
}

// describe fills in what costs something to say.
func (x *exchange) describe(r *format.Record) {
	if x.address.IsValid() {
		r.Upstream = x.address.String()
	}
	if x.c.TLS != nil {
		r.SNI = strings.ToLower(x.c.TLS.ServerName) // RFC 6066, 3; as Envoy
		r.TLSVersion = tlsVersion(x.c.TLS.Version)
	}
}

// tlsVersion is as Envoy writes it: "TLSv1.3".
func tlsVersion(version uint16) string {
	const tls10 = 0x0301
	if version < tls10 || version > tls10+3 {
		return ""
	}
	return "TLSv1." + string('0'+byte(version-tls10))
}

// hasToken tells whether a comma-separated list holds a token, case aside.
func hasToken(list, token string) (found bool) {
	http1.EachToken(list, func(t string) bool {
		found = http1.EqualToken(t, token)
		return !found
	})
	return found
}
