package translate

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previouspb "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const previousHostsName = "envoy.retry_host_predicates.previous_hosts"

// hostSelections is how often an endpoint is picked again that has failed already, until it is taken all the same.
const hostSelections = 20

// retried adds a rule's retries to its route, which may take two routes.
//
// What may be sent again depends on its method: a POST only if no endpoint has begun with it. Envoy has one list of
// conditions in a route's policy, and its retriable_request_headers turn all of them off, not some. So a rule for any method is
// two routes: one for the methods that are idempotent, and one for all others.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-retrypolicy
func retried(r *ir.Rule, m *routepb.Route) []*routepb.Route {
	if r.Retry == nil || m.GetRoute() == nil {
		return []*routepb.Route{m}
	}
	all := retryConditions(r.Retry)
	safe := ir.SafeConditions(all)
	method, known := methodOf(&r.Match)
	switch {
	case r.Retry.NonIdempotent || slices.Equal(all, safe) || known && slices.Contains(ir.IdempotentMethods, method):
		setRetry(m, r.Retry, all)
		return []*routepb.Route{m}
	case known:
		setRetry(m, r.Retry, safe)
		return []*routepb.Route{m}
	}
	first := proto.CloneOf(m)
	first.Match.Headers = append(first.Match.Headers,
		header(ir.HeaderMatch{Name: ":method", Text: ir.Text{Kind: ir.TextRegex, Value: strings.Join(ir.IdempotentMethods, "|")}}))
	setRetry(first, r.Retry, all)
	setRetry(m, r.Retry, safe)
	return []*routepb.Route{first, m}
}

// methodOf is the one method of a match; gRPC is POST.
func methodOf(m *ir.Match) (string, bool) {
	if m.GRPC {
		return "POST", true
	}
	return m.Method, m.Method != ""
}

func retryConditions(r *ir.Retry) []string {
	all := slices.Clone(r.Conditions)
	if len(r.StatusCodes) > 0 {
		all = append(all, "retriable-status-codes")
	}
	return all
}

// setRetry gives a route its policy; without a condition it has none.
func setRetry(m *routepb.Route, r *ir.Retry, conditions []string) {
	if len(conditions) == 0 {
		return
	}
	p := &routepb.RetryPolicy{
		RetryOn:    strings.Join(conditions, ","),
		NumRetries: wrapperspb.UInt32(r.Attempts),
		RetryBackOff: &routepb.RetryPolicy_RetryBackOff{
			BaseInterval: duration(r.BackOffBase), MaxInterval: duration(r.BackOffMax),
		},
	}
	if r.PerTryTimeout > 0 {
		p.PerTryTimeout = duration(r.PerTryTimeout)
	}
	if slices.Contains(conditions, "retriable-status-codes") {
		p.RetriableStatusCodes = r.StatusCodes
	}
	if !r.SameEndpoint {
		p.RetryHostPredicate = []*routepb.RetryPolicy_RetryHostPredicate{{
			Name: previousHostsName,
			ConfigType: &routepb.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: pack(&previouspb.PreviousHostsPredicate{}),
			},
		}}
		p.HostSelectionRetryMaxAttempts = hostSelections
	}
	m.GetRoute().RetryPolicy = p
	// Without it Envoy keeps what a connection may hold back, which is our 32 KiB.
	m.RequestBodyBufferLimit = wrapperspb.UInt64(r.BodyBytes)
}
