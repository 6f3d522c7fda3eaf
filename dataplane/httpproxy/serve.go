package httpproxy

import (
	"errors"
	"io"
	"math/rand/v2"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// Serve is the life of a request: when it returns, the request is answered or broken off.
func (p *Proxy) Serve(s Stream, c *Conn) {
	p.stats.Requests.Add(1)
	p.stats.RequestsActive.Add(1)
	x := p.begin(s, c)
	served := false
	defer func() {
		if !served {
			x.abandon() // a panic: who called tells of it
		}
		p.stats.RequestsActive.Add(-1)
	}()
	state := p.options.State()
	if why := x.serve(state); why != nil {
		x.failed(why)
		x.reply(why)
	}
	x.end()
	served = true
}

// serve goes through the phases: what the head means, where it goes, and there and back.
func (x *exchange) serve(state *State) *failure.Error {
	if why := x.receive(); why != nil {
		return why
	}
	if x.maxForwards() {
		return nil
	}
	x.random = rand.Uint64()
	given := route.Given{Random: x.random}
	if x.p.config.MatchSource {
		given.Source = x.c.Peer.Addr()
	}
	r := state.table.Find(x.req, given)
	if x.req.Upgrade != "" && !x.maySwitch(r) {
		protocol := x.req.Upgrade
		x.req.Upgrade = ""
		return failure.Newf(failure.UpgradeRefused, "%q", protocol)
	}
	if r == nil {
		return failure.New(failure.NoRoute, nil)
	}
	x.record.Route = r.Name
	x.changes = r.ResponseHeaders
	switch {
	case r.Redirect != nil:
		x.redirect(r.Route)
		return nil
	case r.Respond != nil:
		x.respondDirect(r.Respond)
		return nil
	default:
		return x.forward(state, r)
	}
}

// receive checks what concerns any request, and makes the head that goes on.
func (x *exchange) receive() *failure.Error {
	req := x.req
	if req.Method == "CONNECT" || req.Path == "*" {
		// No route matches these: as with Envoy, which has no routes for them unless told so.
		return failure.New(failure.NoRoute, nil)
	}
	if x.p.config.NormalizePath {
		path, ok := route.NormalizePath(req.Path, x.p.config.MergeSlashes)
		if !ok {
			return failure.Newf(failure.BadRequest, "path cannot be normalized")
		}
		req.Path = path
	}
	return x.requestHeader()
}

// forward takes the request to an endpoint, and the answer back.
func (x *exchange) forward(state *State, r *route.Rule) *failure.Error {
	name, client := x.target(state, r)
	if client == nil {
		return failure.Newf(failure.NoCluster, "cluster %q", name)
	}
	x.record.Cluster = name
	c := client.Cluster
	if x.req.Upgrade != "" && x.hasBody && c.Config.HTTP2 {
		protocol := x.req.Upgrade
		x.req.Upgrade = ""
		// RFC 8441, 5: there, all that follows the head is the other protocol's.
		return failure.Newf(failure.UpgradeRefused, "%q: with a body, and cluster %q speaks HTTP/2", protocol, name)
	}
	x.change(&x.req.Header, r.RequestHeaders, nil)
	if r.Rewrite != nil && !route.Rewrite(r.Route, x.req) {
		return failure.Newf(failure.BadRequest, "rewritten path %q does not begin with /", x.req.Path)
	}
	if !c.Acquire() {
		return failure.New(failure.Overflow, nil)
	}
	defer c.Release()
	x.watch(r.Route)
	e := x.pick(c)
	if e == nil {
		return failure.New(failure.NoEndpoint, nil)
	}
	x.stats = c.Stats
	if len(r.Mirrors) > 0 {
		x.mirrorTo(state, r)
		defer x.endMirrors(nil, errLate)
	}
	var why *failure.Error
	if r.Retry != nil {
		e, why = x.persist(client, r, e)
	} else if why = x.try(client, e, false); x.wasStale(why) {
		c.Stats.Retries.Add(1)
		why = x.try(client, e, true)
	}
	x.count(c.Stats, e, why)
	return why
}

// wasStale tells whether a try failed since a connection that was kept open was closed as we took it. Nothing of the
// request was lost, then, if it had no body, and repeating it does no harm (RFC 9110, 9.2.2).
func (x *exchange) wasStale(why *failure.Error) bool {
	return why != nil && why.Retryable && !x.hasBody && !x.responded && idempotent(x.req.Method) && x.cause.Load() == 0
}

func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// try is one exchange with an endpoint.
func (x *exchange) try(client *upstream.Client, e *cluster.Endpoint, fresh bool) (why *failure.Error) {
	defer func() { x.noteFailure(why) }()
	e.Active.Add(1)
	defer e.Active.Add(-1)
	e.Requests.Add(1)
	x.record.Attempts++
	x.address = e.Address
	x.cluster, x.endpoint = client.Cluster, e
	var up upstream.Exchange
	if !fresh {
		up = client.Take(e, &x.c.Origin)
	}
	if up == nil {
		var err error
		up, err = client.Dial(x.context(), e, &x.c.Origin)
		if err != nil {
			return x.because(err)
		}
	}
	if !x.attach(up) {
		up.Close(false)
		return x.because(nil)
	}
	why, whole := x.exchange(up)
	x.detach()
	if whole && why == nil && len(x.p.options.Logs) > 0 {
		// The log will look at the answer's head, which is another's after Close(true).
		x.answered = up
	} else {
		up.Close(whole)
	}
	return why
}

// exchange sends the request and brings the answer; whole tells that both are complete.
func (x *exchange) exchange(up upstream.Exchange) (why *failure.Error, whole bool) {
	var pump *pump
	x.pump = nil
	switch k := x.retry.keeper; {
	case !x.hasBody:
		if err := up.WriteRequest(x.req, true); err != nil {
			return x.because(err), false
		}
		x.tryBegins()
	case k != nil:
		if err := up.WriteRequest(x.req, false); err != nil {
			return x.because(err), false
		}
		x.pump = &k.pump
		k.attach(up)
		if k.why.Load() != nil {
			// The client's fault while nothing was attached; later ones break the exchange off.
			why = x.because(nil)
		} else {
			why, whole = x.answer(up)
		}
		return why, k.detach(up) && whole
	default:
		var why *failure.Error
		if pump, why = x.startBody(up); why != nil {
			return why, false
		}
	}
	why, whole = x.answer(up)
	if pump != nil {
		whole = pump.stop() && whole
	}
	return why, whole
}

// answer reads the answer and sends it on.
func (x *exchange) answer(up upstream.Exchange) (*failure.Error, bool) {
	var res *message.Response
	for {
		var err error
		if res, err = up.ReadResponse(); err != nil {
			return x.because(err), false
		}
		x.touch()
		if (res.Status >= 200 || res.Status == 101) && x.tryTimeout > 0 && x.tryEnds() {
			return x.because(nil), false
		}
		if res.Status >= 200 || res.Status == 101 {
			x.noteAnswer(res)
		}
		if res.Status >= 200 {
			break
		}
		if res.Status == 101 {
			return x.switchTo(up, res), false
		}
		// The client gets its 100 from us, when its body is wanted; others are passed on (RFC 9110, 15.2).
		if res.Status != 100 {
			x.informational(res)
		}
	}
	if x.req.Upgrade != "" && x.req.Proto == message.HTTP2 && res.Status < 300 {
		// To an extended CONNECT a 2xx would say that the protocol was switched (RFC 8441, 4).
		return failure.Newf(failure.BadResponse, "status %d to an upgrade, want 101", res.Status), false
	}
	bodyless := res.ContentLength == 0 || x.req.Method == "HEAD" || res.Status == 204 || res.Status == 304
	if x.retryAnswer(res) {
		return sendAgain, x.leave(up, bodyless)
	}
	x.record.UpstreamDuration = x.sinceRequest()
	cleanResponse(res)
	x.change(&res.Header, x.changes, res)
	x.commonHeader(res)
	if !x.startAnswer(res, bodyless) {
		return x.because(x.sendErr), false
	}
	if bodyless {
		if x.finishAnswer(nil) {
			return nil, true
		}
		return x.because(x.sendErr), false
	}
	return x.copyBody(up, res)
}

// reader is an answer whose body has come in part: that part need not be copied to be sent on.
type reader interface {
	Buffered() int
	Next() ([]byte, error)
}

// copyBody brings the answer's body, as fast as the client takes it.
func (x *exchange) copyBody(up upstream.Exchange, res *message.Response) (*failure.Error, bool) {
	var buf *[]byte
	defer func() {
		if buf != nil {
			putBuffer(buf)
		}
	}()
	ahead, _ := up.(reader)
	short := x.shorten(x.s, up, res.ContentLength, &x.sent)
	for n := 0; ; {
		var p []byte
		var err error
		if ahead != nil && ahead.Buffered() > 0 {
			p, err = ahead.Next()
		} else {
			// What waits for more to come does not make the client wait.
			if sendErr := x.s.Flush(); sendErr != nil {
				return x.because(sendErr), false
			}
			switch {
			case buf == nil:
				buf = getBuffer(res.ContentLength)
			case n == len(*buf):
				buf = grow(buf)
			}
			if sendErr := short.run(); sendErr != nil {
				return x.because(sendErr), false
			}
			n, err = up.Read(*buf)
			p = (*buf)[:n]
		}
		if len(p) > 0 {
			x.touch()
			x.sent += int64(len(p))
			if _, sendErr := x.s.Write(p); sendErr != nil {
				return x.because(sendErr), false
			}
		}
		switch {
		case err == io.EOF:
			if x.finishAnswer(res.Trailer) {
				return nil, true
			}
			return x.because(x.sendErr), false
		case err != nil:
			return x.because(err), false
		}
	}
}

// because is why an exchange failed: what we broke it off for, if we did, or what became of the request's body, else
// what the error says.
func (x *exchange) because(err error) *failure.Error {
	if cause := x.cause.Load(); cause != 0 {
		return failure.New(failure.Kind(cause-1), err)
	}
	if x.tryOver.Load() {
		return failure.New(failure.TryTimeout, err)
	}
	if x.pump != nil {
		if why := x.pump.why.Load(); why != nil {
			return why
		}
	}
	var why *failure.Error
	if errors.As(err, &why) {
		return why
	}
	return failure.New(failure.Internal, err)
}
