package httpproxy

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

const unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"

// retrying gives the rig's route a policy and its cluster room for retries; each further origin is an endpoint more.
func retrying(policy config.Retry, origins ...origin) func(*rig) {
	return func(r *rig) {
		if policy.BackOffBase == 0 {
			policy.BackOffBase, policy.BackOffMax = time.Millisecond, time.Millisecond
		}
		policy.Attempts = max(policy.Attempts, 1)
		policy.Reselect, policy.BodyBytes = 1000, max(policy.BodyBytes, 64<<10)
		r.routes[0].Retry = &policy
		r.cluster.MaxRetries = 100
		for _, o := range origins {
			r.cluster.Static = append(r.cluster.Static, config.Endpoint{Address: config.At(r.origin(o)), Weight: 1})
		}
	}
}

// inTurn is an origin of several that share a count: each request, whoever gets it, is the next one's.
func inTurn(origins ...origin) (shared origin) {
	var mu sync.Mutex
	n := 0
	return func(head string, c *originConn) {
		mu.Lock()
		o := origins[min(n, len(origins)-1)]
		n++
		mu.Unlock()
		o(head, c)
	}
}

// A body that is still on its way when the first endpoint says no goes to the second whole.
func TestRetryWithinTheBody(t *testing.T) {
	for name, no := range map[string]string{"an answer": unavailable, "the end": ""} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			o := inTurn(func(_ string, c *originConn) {
				c.read(5)
				c.say(no)
				c.Close()
			}, func(_ string, c *originConn) {
				first := c.read(5)
				close(asked)
				body := first + c.read(5)
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + body)
			}, say(ok))
			r := newRig(t, nil, retrying(config.Retry{On: config.On5xx}, o, o))
			c := r.dial().say(request("PUT", "/", "Content-Length: 10") + "first")
			<-asked
			if a := c.say("after").answer("PUT"); a.StatusCode != 200 || a.body != "firstafter" {
				t.Errorf("got %d %q, want 200 and both halves", a.StatusCode, a.body)
			}
			// The connection goes on.
			if a := c.say(get("/")).answer("GET"); a.StatusCode != 200 {
				t.Errorf("and then: got %d, want 200", a.StatusCode)
			}
		})
	}
}

// A part of the body that comes while nobody is there to get it is kept, and what follows is read when somebody is.
func TestRetryOfABodyThatWaits(t *testing.T) {
	asked := make(chan struct{})
	o := inTurn(func(_ string, c *originConn) {
		c.read(5)
		c.say(unavailable)
		c.Close()
	}, func(_ string, c *originConn) {
		middle := c.read(10)
		close(asked)
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + middle + c.read(5))
	})
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx, BackOffBase: 200 * time.Millisecond, BackOffMax: time.Second}, o, o))
	c := r.dial().say(request("PUT", "/", "Content-Length: 15") + "first")
	for r.client.Cluster.Stats.Retries.Load() == 0 {
		runtime.Gosched()
	}
	c.say("then.")
	<-asked
	if a := c.say("after").answer("PUT"); a.StatusCode != 200 || a.body != "firstthen.after" {
		t.Errorf("got %d %q, want 200 and all parts", a.StatusCode, a.body)
	}
}

// The time of a try is for its answer to begin: one that has begun ahead of the request's end may take as long as it wants.
func TestTryTimeoutOfAnAnswerAhead(t *testing.T) {
	o := func(_ string, c *originConn) {
		c.read(5)
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
		c.read(5)
		// For as long as this takes, the proxy could close.
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		c.drain()
		c.say("cd")
	}
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx, PerTryTimeout: time.Nanosecond}, o))
	c := r.dial().say(request("PUT", "/", "Content-Length: 10") + "first")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.say("after")
	if body, err := io.ReadAll(res.Body); string(body) != "abcd" || err != nil {
		t.Errorf("got %q, %v, want abcd", body, err)
	}
}

// What is more than may be kept is not sent again, and the answer goes to the client.
func TestRetryWithoutTheBody(t *testing.T) {
	o := func(_ string, c *originConn) {
		c.read(2000)
		c.say(unavailable)
	}
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx}, o, o), func(r *rig) { r.routes[0].Retry.BodyBytes = 1999 })
	if a := r.dial().say(request("PUT", "/", "Content-Length: 2000") + strings.Repeat("x", 2000)).answer("PUT"); a.StatusCode != 503 || a.body != "no" {
		t.Errorf("got %d %q, want 503 no", a.StatusCode, a.body)
	}
	if seen := r.requests(); len(seen) != 1 {
		t.Errorf("the origins saw %d requests, want 1", len(seen))
	}
	if n := r.client.Cluster.Stats.RetriesExhausted.Load(); n != 0 {
		t.Errorf("%d are said to have been tried as often as they may", n)
	}
}

// The pause before a retry ends with the time of the whole request, and with its client.
func TestPauseIsBrokenOff(t *testing.T) {
	const ever = 1000 * time.Hour
	slow := config.Retry{On: config.On5xx, BackOffBase: ever, BackOffMax: ever}
	t.Run("time", func(t *testing.T) {
		r := newRig(t, nil, retrying(slow, say(unavailable)), func(r *rig) { r.routes[0].Timeout = 50 * time.Millisecond })
		if a := r.dial().say(get("/")).answer("GET"); a.StatusCode != 504 {
			t.Errorf("got %d, want 504", a.StatusCode)
		}
		if n := r.client.Cluster.Stats.RetriesActive.Load(); n != 0 {
			t.Errorf("%d retries are still counted", n)
		}
	})
	t.Run("client", func(t *testing.T) {
		answered := make(chan struct{}, 1)
		r := newRig(t, nil, retrying(slow, func(_ string, c *originConn) { c.say(unavailable); answered <- struct{}{} }))
		c := r.dial().say(get("/"))
		<-answered
		// rig's end waits for the request, and goleak for its goroutine.
		c.Close()
	})
}

// The circuit breaker's limit on retries: the answer is the client's, and the request is counted.
func TestRetryOverflow(t *testing.T) {
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx}, say(unavailable)), func(r *rig) { r.cluster.MaxRetries = 0 })
	if a := r.dial().say(get("/")).answer("GET"); a.StatusCode != 503 || a.body != "no" {
		t.Errorf("got %d %q, want 503 no", a.StatusCode, a.body)
	}
	stats := r.client.Cluster.Stats
	if stats.RetryOverflows.Load() != 1 || stats.Retries.Load() != 0 || stats.RetriesExhausted.Load() != 0 {
		t.Errorf("got %d overflows, %d retries and %d exhausted, want one overflow", stats.RetryOverflows.Load(), stats.Retries.Load(), stats.RetriesExhausted.Load())
	}
}

// What is counted of retries, and that a small answer that is not the client's leaves its connection usable.
func TestRetryStats(t *testing.T) {
	o := inTurn(say(unavailable), say(ok), say(unavailable))
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx}, o))
	c := r.dial()
	for _, want := range []int{200, 503} {
		if a := c.say(get("/")).answer("GET"); a.StatusCode != want {
			t.Errorf("got %d, want %d", a.StatusCode, want)
		}
	}
	stats := r.client.Cluster.Stats
	got := [5]int64{stats.Retries.Load(), stats.RetrySuccesses.Load(), stats.RetriesExhausted.Load(), stats.RetriesActive.Load(), stats.ConnectionsTotal.Load()}
	if want := [5]int64{2, 1, 1, 0, 1}; got != want {
		t.Errorf("retries, successes, exhausted, active, connections: got %v, want %v", got, want)
	}
}

// A policy for some requests alone.
func TestRetryOfSomeRequests(t *testing.T) {
	policy := config.Retry{On: config.On5xx, Requests: []config.HeaderMatch{{Name: "x-again", Text: config.Text{Value: "yes"}}}}
	r := newRig(t, nil, retrying(policy, inTurn(say(unavailable), say(unavailable), say(ok))))
	c := r.dial()
	if a := c.say(get("/")).answer("GET"); a.StatusCode != 503 {
		t.Errorf("without the header: got %d, want 503", a.StatusCode)
	}
	if seen := r.requests(); len(seen) != 1 {
		t.Errorf("without the header: the origin saw %d requests, want 1", len(seen))
	}
	if a := c.say(get("/", "X-Again: yes")).answer("GET"); a.StatusCode != 200 {
		t.Errorf("with the header: got %d, want 200", a.StatusCode)
	}
}

// What a try's failure is to each condition.
func TestFailedTry(t *testing.T) {
	every := config.On5xx | config.OnGatewayError | config.OnReset
	for name, tt := range map[string]struct {
		why *failure.Error
		on  config.RetryOn
	}{
		"cannot be connected to": {&failure.Error{Kind: failure.ConnectFailed}, every | config.OnConnectFailure | config.OnResetBeforeRequest},
		"connects too slowly":    {&failure.Error{Kind: failure.ConnectTimeout}, every | config.OnConnectFailure | config.OnResetBeforeRequest},
		"goes away":              {&failure.Error{Kind: failure.Reset}, every},
		"goes away when reused":  {&failure.Error{Kind: failure.Reset, Retryable: true}, every},
		"nothing was sent":       {&failure.Error{Kind: failure.Reset, Unsent: true}, every | config.OnResetBeforeRequest},
		"has not begun":          {&failure.Error{Kind: failure.Reset, Refused: true}, every | config.OnRefusedStream},
		"no HTTP":                {&failure.Error{Kind: failure.BadResponse}, every},
		"too slow":               {&failure.Error{Kind: failure.TryTimeout}, every},
		"the whole too slow":     {&failure.Error{Kind: failure.ResponseTimeout}, 0},
		"circuit breaker":        {&failure.Error{Kind: failure.Overflow}, 0},
		"no endpoint":            {&failure.Error{Kind: failure.NoEndpoint}, 0},
		"client went away":       {&failure.Error{Kind: failure.ClientGone}, 0},
		"the client's own fault": {&failure.Error{Kind: failure.BadRequest}, 0},
		"idle":                   {&failure.Error{Kind: failure.StreamIdle}, 0},
		"a fault of ours":        {&failure.Error{Kind: failure.Internal, Err: errors.New("x")}, 0},
	} {
		for bit := config.On5xx; bit <= config.OnUnavailable; bit <<= 1 {
			if got, want := failedTry(bit, tt.why), tt.on&bit != 0; got != want {
				t.Errorf("%s: condition %b: got %v, want %v", name, bit, got, want)
			}
		}
	}
}

// What an answer is to each condition.
func TestFailedAnswer(t *testing.T) {
	grpc := func(status string) message.Header { return message.Header{{Name: "grpc-status", Value: status}} }
	for name, tt := range map[string]struct {
		status int
		header message.Header
		on     config.RetryOn
	}{
		"200":                     {200, nil, 0},
		"404":                     {404, nil, 0},
		"409":                     {409, nil, config.OnRetriable4xx},
		"429":                     {429, nil, config.OnStatusCodes},
		"500":                     {500, nil, config.On5xx},
		"501":                     {501, nil, config.On5xx},
		"502":                     {502, nil, config.On5xx | config.OnGatewayError},
		"503":                     {503, nil, config.On5xx | config.OnGatewayError},
		"504":                     {504, nil, config.On5xx | config.OnGatewayError},
		"505":                     {505, nil, config.On5xx},
		"599":                     {599, nil, config.On5xx},
		"503 of who limits rates": {503, message.Header{{Name: "x-envoy-ratelimited", Value: "true"}}, 0},
		"gRPC OK":                 {200, grpc("0"), 0},
		"gRPC 1":                  {200, grpc("1"), config.OnCancelled},
		"gRPC 4":                  {200, grpc("4"), config.OnDeadlineExceeded},
		"gRPC 8":                  {200, grpc("8"), config.OnResourceExhausted},
		"gRPC 13":                 {200, grpc("13"), config.OnInternal},
		"gRPC 14":                 {200, grpc("14"), config.OnUnavailable},
		"gRPC 14 and 503":         {503, grpc("14"), config.OnUnavailable | config.On5xx | config.OnGatewayError},
		"gRPC nonsense":           {200, grpc("fourteen"), 0},
	} {
		for bit := config.On5xx; bit <= config.OnUnavailable; bit <<= 1 {
			x := &exchange{retry: retries{policy: &config.Retry{On: bit, StatusCodes: []uint32{429}}}}
			if got, want := x.failedAnswer(&message.Response{Status: tt.status, Header: tt.header}), tt.on&bit != 0; got != want {
				t.Errorf("%s: condition %b: got %v, want %v", name, bit, got, want)
			}
		}
	}
}

// Flags stand in Envoy's order.
func TestWithFlag(t *testing.T) {
	for _, tt := range [][3]string{
		{"", flagExhausted, "URX"}, {"-", flagOverflow, "UO"}, {"UF", flagExhausted, "URX,UF"}, {"UC", flagOverflow, "UO,UC"},
	} {
		if got := withFlag(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s and %s: got %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

// A first try that fails with the client's body half sent, and a client that then goes away: nothing is left behind.
func TestClientGoneWithinRetry(t *testing.T) {
	second := make(chan struct{})
	o := inTurn(func(_ string, c *originConn) {
		c.read(5)
		c.Close()
	}, func(_ string, c *originConn) {
		c.read(5)
		close(second)
		_, _ = io.Copy(io.Discard, c.r)
	})
	r := newRig(t, nil, retrying(config.Retry{On: config.On5xx}, o, o))
	c := r.dial().say(request("PUT", "/", "Content-Length: 10") + "first")
	<-second
	c.Close()
}
