package admin

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/server"
)

// odd answers with words that are not UTF-8.
type odd struct{}

func (odd) Proxies(string) []status.Proxy {
	return []status.Proxy{{ID: "a\xff", Fleet: "f\xff", Agent: "x\xff", Peer: "\xff", Connected: true, Types: []status.Type{{Accepted: "\xff", Sent: "\xff", Error: "no\xff"}}}}
}

func (o odd) Wait(context.Context, string, int) ([]status.Proxy, error) { return o.Proxies(""), nil }

func (odd) Resources(context.Context, string, string, bool) ([]status.Resource, error) {
	return []status.Resource{{Ref: status.Ref{Name: "\xff", Origins: []provenance.Origin{{Document: "\xff"}}}, Error: "no\xff"}}, nil
}

func (odd) Changed() <-chan struct{} { return nil }

func (odd) Age(server.StreamID, string, string) (time.Duration, bool) { return 0, false }

// TestNotUTF8 names a file in another encoding: the status can be told all the same.
func TestNotUTF8(t *testing.T) {
	s := NewService(ServiceOptions{Proxies: odd{}, Problems: func() []store.Problem {
		return []store.Problem{{Problem: definition.Problem{
			Position: definition.Position{File: "caf\xe9.yaml"}, Ref: definition.Ref{Kind: "Service", Name: "\xff"}, Field: "\xff", Message: "cannot read caf\xe9.yaml",
		}}}
	}})
	answer, err := s.Status(t.Context(), &adminv1.StatusRequest{Proxy: "a\xff"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proto.Marshal(answer); err != nil {
		t.Errorf("Status: %v", err)
	}
	if got, want := answer.GetProblems()[0].GetFile(), "caf\uFFFD.yaml"; got != want {
		t.Errorf("got file %q, want %q", got, want)
	}
	waited, err := s.Wait(t.Context(), &adminv1.WaitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proto.Marshal(waited); err != nil {
		t.Errorf("Wait: %v", err)
	}
}
