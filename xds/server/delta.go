package server

import (
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// delta is the incremental protocol on the wire.
type delta struct {
	stream discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (w delta) receive() (*request, error) {
	in, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	req := &request{
		typeURL:     in.GetTypeUrl(),
		node:        nodeOf(in.GetNode()),
		nonce:       in.GetResponseNonce(),
		subscribe:   in.GetResourceNamesSubscribe(),
		unsubscribe: in.GetResourceNamesUnsubscribe(),
		initial:     in.GetInitialResourceVersions(),
	}
	if in.GetErrorDetail() != nil {
		req.refused = text(in.GetErrorDetail().GetMessage())
	}
	return req, nil
}

func (w delta) send(m *message) error { return w.stream.SendMsg(response{m, true}) }
