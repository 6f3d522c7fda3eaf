package admin

import (
	"context"

	"google.golang.org/grpc/stats"
)

// traffic counts the bytes of xDS responses by type. gRPC tells it of every message.
type traffic struct{ metrics *Metrics }

// Traffic is for the gRPC server that serves xDS.
func (m *Metrics) Traffic() stats.Handler { return traffic{m} }

// HandleRPC is part of stats.Handler.
func (t traffic) HandleRPC(_ context.Context, s stats.RPCStats) {
	out, ok := s.(*stats.OutPayload)
	if !ok {
		return
	}
	if response, ok := out.Payload.(interface{ GetTypeUrl() string }); ok {
		t.metrics.bytes.WithLabelValues(label(response.GetTypeUrl())).Add(float64(out.WireLength))
	}
}

// TagRPC is part of stats.Handler.
func (traffic) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn is part of stats.Handler.
func (traffic) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn is part of stats.Handler.
func (traffic) HandleConn(context.Context, stats.ConnStats) {}
