package httpproxy

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

const (
	// mirrorAhead is how many bytes of a body may wait for the endpoint of a copy; with more the copy is given up.
	mirrorAhead = 1 << 20
	// mirrorMemory is how many bytes may wait in all, of all copies: what they hold of bodies, and of each its head and
	// mirrorCost, since many copies for an endpoint that does not answer are many heads and goroutines.
	mirrorMemory = 64 << 20
	mirrorCost   = 4 << 10
	// mirrorTime is how long a copy may take in all, where the route has no timeout.
	mirrorTime = 5 * time.Minute
)

// mirrored is what copies hold now, all of them, in bytes.
var mirrored atomic.Int64

// errLate breaks a copy off.
var errLate = errors.New("given up")

// mirror is a copy of a request on its way. Its answer is thrown away, and it waits for nobody that serves the request.
type mirror struct {
	client   *upstream.Client
	endpoint *cluster.Endpoint
	origin   *upstream.Origin
	request  message.Request
	// held is what it counts for in mirrored besides its body.
	held    int64
	timeout time.Duration
	ctx     context.Context
	cancel  context.CancelFunc

	mu sync.Mutex
	// Guarded by mu: what of the body waits, and how it ended: io.EOF is whole.
	body    []byte
	trailer message.Header
	ended   error
	// more tells that these have changed; it holds one signal.
	more chan struct{}
}

// mirrorTo begins the copies that a route asks for, of the request as it goes upstream. As with Envoy they are of the
// request's one draw, and what has no cluster, no endpoint or no room is left out.
func (x *exchange) mirrorTo(state *State, r *route.Rule) {
	if x.req.Upgrade != "" {
		return // what follows is no request
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		if f := m.Fraction; f != nil && uint32(x.random%uint64(f.Denominator)) >= f.Numerator {
			continue
		}
		_, client := state.cluster(r.Mirror(i))
		if client == nil {
			continue
		}
		c := client.Cluster
		// A made cookie would be the answer's.
		cookie := x.cookie
		e := x.pick(c)
		x.cookie = cookie
		if e == nil || mirrored.Load() > mirrorMemory || !c.Acquire() {
			c.Stats.MirrorsDropped.Add(1)
			continue
		}
		c.Stats.Mirrors.Add(1)
		x.mirrors = append(x.mirrors, x.newMirror(client, e, m, r.Timeout))
	}
}

func (x *exchange) newMirror(client *upstream.Client, e *cluster.Endpoint, cfg *config.Mirror, timeout time.Duration) *mirror {
	m := &mirror{client: client, endpoint: e, origin: &x.c.Origin, more: make(chan struct{}, 1), timeout: timeout}
	if m.timeout == 0 {
		m.timeout = mirrorTime
	}
	// It may outlive the request, whose strings are the codec's.
	m.request = message.Request{
		Proto: x.req.Proto, Method: strings.Clone(x.req.Method), Scheme: x.req.Scheme, Authority: strings.Clone(x.req.Authority),
		Path: strings.Clone(x.req.Path), Header: cloneHeader(x.req.Header), ContentLength: x.req.ContentLength,
	}
	if cfg.ShadowHost {
		bare := route.WithoutPort(m.request.Authority)
		m.request.Authority = bare + "-shadow" + m.request.Authority[len(bare):]
	}
	x.ours(&m.request.Header)
	if !x.hasBody {
		m.ended = io.EOF
	}
	m.held = mirrorCost + headSize(&m.request)
	mirrored.Add(m.held)
	m.ctx, m.cancel = context.WithTimeout(context.Background(), m.timeout)
	go m.run()
	return m
}

// ours says of a copy, as Envoy does, that it is a request of the proxy's own: it comes from this machine, behind the client.
func (x *exchange) ours(h *message.Header) {
	address := x.p.options.LocalAddress.String()
	if clients, ok := h.Get("x-forwarded-for"); ok {
		address = clients + "," + address
	}
	h.Set("x-forwarded-for", address)
	h.Set("x-envoy-internal", "true")
}

func headSize(r *message.Request) int64 {
	n := len(r.Method) + len(r.Authority) + len(r.Path)
	for i := range r.Header {
		n += len(r.Header[i].Name) + len(r.Header[i].Value)
	}
	return int64(n)
}

func cloneHeader(h message.Header) message.Header {
	h = slices.Clone(h)
	for i := range h {
		h[i] = message.Field{Name: strings.Clone(h[i].Name), Value: strings.Clone(h[i].Value)}
	}
	return h
}

// copyTo gives the copies a piece of the body, and its end if that was read with it; it does not wait.
func (x *exchange) copyTo(p []byte, err error) {
	if err == io.EOF {
		defer x.endMirrors(x.req.Trailer, io.EOF)
	}
	for _, m := range x.mirrors {
		m.mu.Lock()
		if m.ended == nil {
			if len(m.body)+len(p) > mirrorAhead || mirrored.Load() > mirrorMemory {
				m.ended = errLate
				m.cancel()
			} else {
				m.body = append(m.body, p...)
				mirrored.Add(int64(len(p)))
			}
		}
		m.mu.Unlock()
		m.signal()
	}
}

// endMirrors tells the copies that the body has ended: io.EOF is whole, with its trailer; else they are given up.
func (x *exchange) endMirrors(trailer message.Header, why error) {
	for _, m := range x.mirrors {
		m.mu.Lock()
		if m.ended == nil {
			if m.trailer, m.ended = cloneHeader(trailer), why; why != io.EOF {
				m.cancel()
			}
		}
		m.mu.Unlock()
		m.signal()
	}
}

func (m *mirror) signal() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// run sends the copy, and reads its answer to the end, so that the connection can serve again.
func (m *mirror) run() {
	stats := m.client.Cluster.Stats
	// Who sees the copy counted out sees nothing of it left.
	defer m.client.Cluster.Release()
	defer mirrored.Add(-m.held)
	m.endpoint.Active.Add(1)
	defer m.endpoint.Active.Add(-1)
	m.endpoint.Requests.Add(1)
	defer m.cancel()
	up := m.client.Take(m.endpoint, m.origin)
	if up == nil {
		var err error
		if up, err = m.client.Dial(m.ctx, m.endpoint, m.origin); err != nil {
			m.endpoint.Failures.Add(1)
			stats.MirrorsDropped.Add(1)
			m.giveUp()
			return
		}
	}
	stop := context.AfterFunc(m.ctx, func() { up.Close(false) })
	whole := m.exchange(up)
	if !whole {
		stats.MirrorsDropped.Add(1)
	}
	up.Close(stop() && whole)
}

// exchange sends the copy, and reads its answer meanwhile; true if both came to their ends.
func (m *mirror) exchange(up upstream.Exchange) bool {
	m.mu.Lock()
	bodyless := m.ended == io.EOF && len(m.body) == 0 && m.request.ContentLength == 0
	m.mu.Unlock()
	if up.WriteRequest(&m.request, bodyless) != nil {
		m.giveUp()
		return false
	}
	sent := true
	var sending sync.WaitGroup
	sending.Go(func() {
		if sent = bodyless || m.send(up); !sent {
			m.giveUp()
			m.cancel()
		}
	})
	whole := m.receive(up)
	if !whole {
		m.cancel() // who sends it waits no longer
	}
	sending.Wait()
	return whole && sent
}

// giveUp frees what waits; nothing more is taken.
func (m *mirror) giveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = errLate
	mirrored.Add(-int64(len(m.body)))
	m.body = nil
}

// send sends the copy's body; true if it went to its end.
func (m *mirror) send(up upstream.Exchange) bool {
	for {
		m.mu.Lock()
		p, ended, trailer := m.body, m.ended, m.trailer
		m.body = nil
		m.mu.Unlock()
		if len(p) > 0 {
			_, err := up.Write(p)
			mirrored.Add(-int64(len(p)))
			if err != nil {
				return false
			}
		}
		switch {
		case ended == io.EOF:
			return up.End(trailer) == nil
		case ended != nil || up.Flush() != nil:
			return false
		}
		select {
		case <-m.more:
		case <-m.ctx.Done():
			return false
		}
	}
}

// receive reads the answer; true if it came to its end.
func (m *mirror) receive(up upstream.Exchange) bool {
	for {
		res, err := up.ReadResponse()
		switch {
		case err != nil || res.Status == 101:
			return false
		case res.Status < 200:
			continue
		}
		m.client.Cluster.Stats.Status[min(res.Status/100, 5)].Add(1)
		if res.ContentLength == 0 || m.request.Method == "HEAD" || res.Status == 204 || res.Status == 304 {
			return true
		}
		break
	}
	buf := getBuffer(-1)
	defer putBuffer(buf)
	for {
		switch _, err := up.Read(*buf); {
		case err == io.EOF:
			return true
		case err != nil:
			return false
		}
	}
}
