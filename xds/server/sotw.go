package server

import (
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// sotw is state of the world on the wire.
type sotw struct {
	stream discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

func (w sotw) receive() (*request, error) {
	in, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	req := &request{
		typeURL: in.GetTypeUrl(),
		node:    nodeOf(in.GetNode()),
		nonce:   in.GetResponseNonce(),
		names:   in.GetResourceNames(),
		version: in.GetVersionInfo(),
	}
	if in.GetErrorDetail() != nil {
		req.refused = text(in.GetErrorDetail().GetMessage())
	}
	return req, nil
}

func (w sotw) send(m *message) error { return w.stream.SendMsg(response{m, false}) }
