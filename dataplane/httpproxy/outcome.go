package httpproxy

import (
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// grpcStatuses are what gRPC's codes count as, as Envoy has it.
// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
var grpcStatuses = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// noteAnswer tells outlier detection what an endpoint has answered. A gRPC call that fails at once says so in its head.
func (x *exchange) noteAnswer(res *message.Response) {
	if x.cluster.Config.Outliers == nil {
		return
	}
	status := res.Status
	if x.grpc {
		if code, ok := res.Header.Get("grpc-status"); ok {
			status = 500
			if n, err := strconv.ParseUint(code, 10, 32); err == nil && n < uint64(len(grpcStatuses)) {
				status = grpcStatuses[n]
			}
		}
	}
	x.cluster.Note(x.endpoint, status)
}

// noteFailure tells it of an answer that did not come, or not to its end.
func (x *exchange) noteFailure(why *failure.Error) {
	if why == nil || x.cluster.Config.Outliers == nil {
		return
	}
	switch why.Kind {
	case failure.ConnectFailed, failure.ConnectTimeout, failure.Reset, failure.StreamReset, failure.BadResponse:
		x.cluster.Note(x.endpoint, 503)
	case failure.TryTimeout, failure.ResponseTimeout:
		if !x.responded {
			x.cluster.Note(x.endpoint, 504)
		}
	}
}
