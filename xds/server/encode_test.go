package server

import (
	"strings"
	"testing"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestCodec: what we put together is what protobuf would serialize, small and large, with everything and with nothing.
func TestCodec(t *testing.T) {
	some := manyClusters(t, 3, 0, nil).Set(cds).All()
	many := manyClusters(t, 2000, 0, nil).Set(cds).All()
	for name, m := range map[string]*message{
		"empty":   {},
		"some":    {typeURL: cds, version: "v", nonce: "n", resources: some, removed: []string{"a", "", strings.Repeat("long", 100)}},
		"many":    {typeURL: cds, version: strings.Repeat("v", 200), nonce: "n", resources: many},
		"all":     {typeURL: cds, version: "v", nonce: "n", resources: many, all: manyClusters(t, 2000, 0, nil).Set(cds)},
		"removed": {typeURL: eds, nonce: "n", removed: []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if m.all != nil {
				m.resources = m.all.All()
			}
			delta := &discoverypb.DeltaDiscoveryResponse{SystemVersionInfo: m.version, TypeUrl: m.typeURL, Nonce: m.nonce, RemovedResources: m.removed}
			whole := &discoverypb.DiscoveryResponse{VersionInfo: m.version, TypeUrl: m.typeURL, Nonce: m.nonce}
			for _, r := range m.resources {
				delta.Resources = append(delta.Resources, &discoverypb.Resource{Name: r.Name, Version: r.Version, Resource: r.Any()})
				whole.Resources = append(whole.Resources, r.Any())
			}
			got := &discoverypb.DeltaDiscoveryResponse{}
			decode(t, response{m, true}, got)
			if diff := cmp.Diff(delta, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			gotWhole := &discoverypb.DiscoveryResponse{}
			m.removed = nil // state of the world has none
			decode(t, response{m, false}, gotWhole)
			if diff := cmp.Diff(whole, gotWhole, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, r := range some {
		if n := proto.Size(&discoverypb.Resource{Name: r.Name, Version: r.Version, Resource: r.Any()}); n != r.Size() {
			t.Errorf("got a size of %d, want %d", r.Size(), n)
		}
	}
	// Whatever else goes over the connection is gRPC's business.
	other := &anypb.Any{TypeUrl: "x"}
	got := &anypb.Any{}
	decode(t, other, got)
	if !proto.Equal(other, got) {
		t.Errorf("got %v, want %v", got, other)
	}
}

func decode(t *testing.T, v any, into proto.Message) {
	t.Helper()
	c := newCodec()
	data, err := c.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Free()
	if r, ok := v.(response); ok && data.Len() != r.size() {
		t.Errorf("got %d bytes, want %d", data.Len(), r.size())
	}
	if err := c.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkEncode is a response with a thousand clusters, as it goes to each stream, beside protobuf's way.
func BenchmarkEncode(b *testing.B) {
	m := &message{typeURL: cds, version: "v", nonce: "n", resources: manyClusters(b, 1000, 0, nil).Set(cds).All()}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			data, _ := newCodec().Marshal(response{m, true})
			data.Free()
		}
	})
	b.Run("protobuf", func(b *testing.B) {
		for b.Loop() {
			out := &discoverypb.DeltaDiscoveryResponse{SystemVersionInfo: m.version, TypeUrl: m.typeURL, Nonce: m.nonce}
			for _, r := range m.resources {
				out.Resources = append(out.Resources, &discoverypb.Resource{Name: r.Name, Version: r.Version, Resource: r.Any()})
			}
			data, _ := newCodec().Marshal(out)
			data.Free()
		}
	})
}
