package definition

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const (
	defaultCondition   = "gateway-error"
	defaultAttempts    = 1
	defaultTryTimeout  = "0s"
	defaultBackOffBase = 25 * time.Millisecond
	// backOffGrowth is how often the default maximum holds the base: it is Envoy's.
	backOffGrowth    = 10
	defaultBodyBytes = "64Ki"
	leastBodyBytes   = 1 << 10
	mostBodyBytes    = 8 << 20
)

// grpcConditions hold for gRPC alone, and so for POST alone.
var grpcConditions = []string{"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}

// checkRetry looks at what a Retry's fields say together. timeout is that of the whole request.
func checkRetry(r *sluicev1.Retry, timeout, at string, report reporter) {
	if r == nil || r.GetDisabled() {
		return
	}
	for i, c := range r.GetConditions() {
		if slices.Contains(grpcConditions, c) && !r.GetNonIdempotent() {
			report(itemPath(at+".conditions", i), CodeExclusive,
				fmt.Sprintf("got %s without nonIdempotent: true, so that it never holds: a gRPC call is a POST, which is not sent again once an endpoint may have begun with it", c))
		}
	}
	checkDuration(r.GetPerTryTimeout(), at+".perTryTimeout", report)
	whole, err := ParseDuration(timeout)
	if one, err2 := ParseDuration(r.GetPerTryTimeout()); err == nil && err2 == nil && whole > 0 && one >= whole {
		report(at+".perTryTimeout", CodeDuration, fmt.Sprintf("got %s, want less than the timeout of the whole request, %s", r.GetPerTryTimeout(), timeout))
	}
	checkBackOff(r.GetBackOff(), at+".backOff", report)
	if n, err := ParseSize(r.GetBodyBytes()); err == nil && r.GetBodyBytes() != "" && (n < leastBodyBytes || n > mostBodyBytes) {
		report(at+".bodyBytes", CodeInvalidValue, fmt.Sprintf("got %s, want 1Ki to 8Mi", r.GetBodyBytes()))
	}
}

// checkRetryHolds refuses a rule's own retry of which nothing is left for the methods that the rule takes.
func checkRetryHolds(rule *sluicev1.Rule, at string, report reporter) {
	r := rule.GetRetry()
	if r == nil || r.GetDisabled() || r.GetNonIdempotent() {
		return
	}
	matches := rule.GetMatches()
	if rule.GetMatch() != nil {
		matches = append(slices.Clone(matches), rule.GetMatch())
	}
	conditions := r.GetConditions()
	if len(conditions)+len(r.GetStatusCodes()) == 0 {
		conditions = []string{defaultCondition}
	}
	if len(matches) == 0 || slices.ContainsFunc(matches, takesIdempotent) || len(ir.SafeConditions(conditions)) > 0 {
		return
	}
	report(at, CodeExclusive, "got conditions that never hold: the rule takes only methods that are not idempotent, which are not sent again once an endpoint may have begun with them, want one of connect-failure, refused-stream and reset-before-request among the conditions, or nonIdempotent: true")
}

// takesIdempotent says whether a request fits whose method is idempotent.
func takesIdempotent(m *sluicev1.Match) bool {
	idempotent := func(method string) bool { return slices.Contains(ir.IdempotentMethods, method) }
	return m.GetGrpc() == nil && (len(m.GetMethods()) == 0 || slices.ContainsFunc(m.GetMethods(), idempotent))
}

func checkBackOff(b *sluicev1.BackOff, at string, report reporter) {
	checkDuration(b.GetBase(), at+".base", report)
	checkDuration(b.GetMax(), at+".max", report)
	base, err := ParseDuration(b.GetBase())
	most, err2 := ParseDuration(b.GetMax())
	if err != nil || err2 != nil {
		return
	}
	if b.GetBase() != "" && base < time.Millisecond {
		report(at+".base", CodeDuration, fmt.Sprintf("got %s, want 1ms or more", b.GetBase()))
		return
	}
	if base == 0 {
		base = defaultBackOffBase
	}
	if b.GetMax() != "" && most < base {
		report(at+".max", CodeDuration, fmt.Sprintf("got %s, want the base, %s, or more", b.GetMax(), base))
	}
}

func retryDefaults(r *sluicev1.Retry) {
	if r == nil || r.GetDisabled() {
		return
	}
	if len(r.GetStatusCodes()) == 0 {
		orList(&r.Conditions, defaultCondition)
	}
	if r.Attempts == nil {
		r.Attempts = proto.Uint32(defaultAttempts)
	}
	orText(&r.PerTryTimeout, defaultTryTimeout)
	if r.BackOff == nil {
		r.BackOff = &sluicev1.BackOff{}
	}
	orText(&r.BackOff.Base, defaultBackOffBase.String())
	if base, err := ParseDuration(r.GetBackOff().GetBase()); err == nil {
		orText(&r.BackOff.Max, (backOffGrowth * base).String())
	}
	orText(&r.BodyBytes, defaultBodyBytes)
}
