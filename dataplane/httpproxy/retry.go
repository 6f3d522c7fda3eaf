package httpproxy

import (
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// retries is how a request is sent again, by its route's policy. Only the goroutine that serves.
type retries struct {
	// policy is nil if it is not sent again. All below is set only if it is not.
	policy  *config.Retry
	cluster *cluster.Cluster
	// left is how many more there may be, and wait bounds the next pause.
	left uint32
	wait time.Duration
	// tried are the endpoints that have failed.
	tried []*cluster.Endpoint
	// counted: the cluster counts a retry as under way.
	counted bool
	// keeper keeps the request's body; nil if it has none, or nobody keeps it.
	keeper *keeper
}

// sendAgain is why a try has ended whose answer is not the client's: the policy wants another.
var sendAgain = failure.Newf(failure.Internal, "to be sent again")

// Response flags that say why a request was not sent again. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
const (
	flagExhausted = "URX"
	flagOverflow  = "UO"
)

// persist sends a request until it is answered, or its route's policy says that it was enough. It tells the endpoint that
// was tried last.
func (x *exchange) persist(client *upstream.Client, r *route.Rule, e *cluster.Endpoint) (*cluster.Endpoint, *failure.Error) {
	x.beginRetries(client.Cluster, r.Retry)
	defer x.endRetries()
	for fresh := false; ; {
		why := x.try(client, e, fresh)
		switch {
		case why == sendAgain || x.retryFailure(why):
			if why != sendAgain {
				x.countFailure(client.Cluster.Stats, e, why)
			}
			if !x.pause() {
				return e, x.because(nil)
			}
			x.retry.tried = append(x.retry.tried, e)
			if e = x.pickAgain(client.Cluster); e == nil {
				return e, failure.New(failure.NoEndpoint, nil)
			}
			fresh = false
			x.tryOver.Store(false)
		case !fresh && x.flag == "" && x.wasStale(why):
			// The policy does not count it, so that it forbids nothing.
			client.Cluster.Stats.Retries.Add(1)
			fresh = true
		default:
			if why == nil && len(x.retry.tried) > 0 && x.record.Status < 500 {
				client.Cluster.Stats.RetrySuccesses.Add(1)
			}
			return e, why
		}
	}
}

func (x *exchange) beginRetries(c *cluster.Cluster, policy *config.Retry) {
	if !route.HasAny(policy.Requests, x.req) {
		return
	}
	x.retry = retries{policy: policy, cluster: c, left: policy.Attempts, wait: policy.BackOffBase, tried: x.retry.tried[:0]}
	// As with Envoy: a try that may take as long as the whole has no time-out of its own.
	if x.tryTimeout = policy.PerTryTimeout; x.routeTimeout > 0 && x.tryTimeout >= x.routeTimeout {
		x.tryTimeout = 0
	}
	if x.hasBody && x.req.Upgrade == "" {
		x.retry.keeper = newKeeper(x, policy.BodyBytes)
	}
}

func (x *exchange) endRetries() {
	if x.retry.policy == nil {
		return
	}
	x.settleRetry()
	if x.retry.keeper != nil {
		x.retry.keeper.stop()
	}
	clear(x.retry.tried)
	x.retry = retries{tried: x.retry.tried[:0]}
	x.tryTimeout = 0
}

// settleRetry notes that it is known what came of a retry.
func (x *exchange) settleRetry() {
	if x.retry.counted {
		x.retry.counted = false
		x.retry.cluster.ReleaseRetry()
	}
}

// retryAnswer tells whether an answer is not the client's: the request is to be sent again.
func (x *exchange) retryAnswer(res *message.Response) bool {
	if x.retry.policy == nil {
		return false
	}
	x.settleRetry()
	return x.failedAnswer(res) && x.mayRetry()
}

// failedAnswer tells whether the policy counts an answer as a failure.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
func (x *exchange) failedAnswer(res *message.Response) bool {
	policy := x.retry.policy
	status := res.Status
	failed := policy.On&config.On5xx != 0 && status >= 500 ||
		policy.On&config.OnGatewayError != 0 && status >= 502 && status <= 504 ||
		policy.On&config.OnRetriable4xx != 0 && status == 409 ||
		policy.On&config.OnStatusCodes != 0 && slices.Contains(policy.StatusCodes, uint32(status)) ||
		policy.On&onGRPC != 0 && policy.On&grpcCondition(res) != 0
	// Who limits rates, and says so in Envoy's word, does not want it again.
	return failed && !res.Header.Has("x-envoy-ratelimited")
}

const onGRPC = config.OnCancelled | config.OnDeadlineExceeded | config.OnInternal | config.OnResourceExhausted | config.OnUnavailable

// grpcCondition is the condition of an answer's status of gRPC, if its head has one.
func grpcCondition(res *message.Response) config.RetryOn {
	value, ok := res.Header.Get("grpc-status")
	if !ok {
		return 0
	}
	switch n, err := strconv.ParseUint(value, 10, 32); {
	case err != nil:
		return 0
	case n == 1:
		return config.OnCancelled
	case n == 4:
		return config.OnDeadlineExceeded
	case n == 8:
		return config.OnResourceExhausted
	case n == 13:
		return config.OnInternal
	case n == 14:
		return config.OnUnavailable
	}
	return 0
}

// retryFailure tells whether a try that failed without an answer is to be followed by another.
func (x *exchange) retryFailure(why *failure.Error) bool {
	if x.retry.policy == nil || why == nil {
		return false
	}
	x.settleRetry()
	if x.responded || x.cause.Load() != 0 || x.pump != nil && x.pump.why.Load() != nil {
		return false
	}
	return failedTry(x.retry.policy.On, why) && x.mayRetry()
}

// failedTry tells whether a policy counts a failure without an answer.
func failedTry(on config.RetryOn, why *failure.Error) bool {
	const always = config.On5xx | config.OnGatewayError | config.OnReset
	switch why.Kind {
	case failure.ConnectFailed, failure.ConnectTimeout:
		return on&(always|config.OnConnectFailure|config.OnResetBeforeRequest) != 0
	case failure.Reset, failure.BadResponse, failure.TryTimeout:
		return on&always != 0 || why.Unsent && on&config.OnResetBeforeRequest != 0 || why.Refused && on&config.OnRefusedStream != 0
	}
	return false
}

// mayRetry tells whether a request whose try has failed may be sent again, and counts it then.
func (x *exchange) mayRetry() bool {
	r := &x.retry
	switch {
	case r.keeper != nil && !r.keeper.hold(), x.hasBody && r.keeper == nil && x.pump != nil:
		// Its body is not here any more.
		return false
	case r.left == 0:
		r.cluster.Stats.RetriesExhausted.Add(1)
		x.flag = flagExhausted
		return false
	case !r.cluster.AcquireRetry():
		x.flag = flagOverflow
		return false
	}
	r.left--
	r.counted = true
	return true
}

// pause waits before a retry; false: the exchange was broken off meanwhile.
func (x *exchange) pause() bool {
	r := &x.retry
	wait := min(rand.N(max(1, r.wait)), r.policy.BackOffMax)
	r.wait = min(2*r.wait, r.policy.BackOffMax)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	defer x.detach()
	select {
	case <-timer.C:
	case <-x.context().Done():
	}
	return x.cause.Load() == 0
}

// pickAgain chooses an endpoint, as pick does, that has not failed if there is one.
func (x *exchange) pickAgain(c *cluster.Cluster) *cluster.Endpoint {
	if c.Hashes() {
		if hash, found := x.hash(c.Config.HashOn); found {
			return c.PickAgainBy(hash, x.retry.tried, x.retry.policy.Reselect)
		}
	}
	return c.PickAgain(x.retry.tried, x.retry.policy.Reselect)
}

// leave reads what has come of an answer that nobody gets. If that was all, its connection can serve again.
func (x *exchange) leave(up upstream.Exchange, bodyless bool) (whole bool) {
	if bodyless {
		return true
	}
	ahead, _ := up.(reader)
	for ahead != nil && ahead.Buffered() > 0 {
		if _, err := ahead.Next(); err != nil {
			return err == io.EOF
		}
	}
	return false
}

// withFlag adds why a request was not sent again to the flags of its failure, which Envoy knows later.
func withFlag(flags, flag string) string {
	if flags == "" || flags == "-" {
		return flag
	}
	return flag + "," + flags
}
