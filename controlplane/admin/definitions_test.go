package admin

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// anything answers whatever it is asked.
type anything struct{}

func (anything) Plan(context.Context, *adminv1.PlanRequest) (*adminv1.PlanResponse, error) {
	return &adminv1.PlanResponse{}, nil
}
func (anything) List(*adminv1.ListRequest) (*adminv1.ListResponse, error) {
	return &adminv1.ListResponse{}, nil
}
func (anything) Describe(*adminv1.DescribeRequest) (*adminv1.DescribeResponse, error) {
	return &adminv1.DescribeResponse{}, nil
}
func (anything) History(*adminv1.HistoryRequest) (*adminv1.HistoryResponse, error) {
	return &adminv1.HistoryResponse{}, nil
}
func (anything) Undo(context.Context, *adminv1.UndoRequest) (*adminv1.UndoResponse, error) {
	return &adminv1.UndoResponse{}, nil
}

// TestDefinitionsAccess: who may only read may ask everything, and undo nothing; each method asks.
func TestDefinitionsAccess(t *testing.T) {
	calls := map[string]func(s *Definitions) error{
		"Plan":     func(s *Definitions) error { _, err := s.Plan(t.Context(), nil); return err },
		"List":     func(s *Definitions) error { _, err := s.List(t.Context(), nil); return err },
		"Describe": func(s *Definitions) error { _, err := s.Describe(t.Context(), nil); return err },
		"History":  func(s *Definitions) error { _, err := s.History(t.Context(), nil); return err },
		"Undo":     func(s *Definitions) error { _, err := s.Undo(t.Context(), nil); return err },
	}
	for _, m := range adminv1.DefinitionService_ServiceDesc.Methods {
		if calls[m.MethodName] == nil {
			t.Errorf("%s: is not tested here", m.MethodName)
		}
	}
	for _, role := range []struct {
		name string
		may  func(Access) bool
		want map[string]bool // what it may call
	}{
		{"read and write", func(Access) bool { return true }, map[string]bool{"Plan": true, "List": true, "Describe": true, "History": true, "Undo": true}},
		{"read", func(a Access) bool { return a == Read }, map[string]bool{"Plan": true, "List": true, "Describe": true, "History": true}},
		{"nothing", func(Access) bool { return false }, nil},
	} {
		s := NewDefinitions(DefinitionsOptions{Planner: anything{}, Describer: anything{}, Revisions: anything{}, Authorize: func(_ context.Context, needs Access) error {
			if role.may(needs) {
				return nil
			}
			return grpcstatus.Error(codes.PermissionDenied, "no")
		}})
		for method, call := range calls {
			if err := call(s); (err == nil) != role.want[method] {
				t.Errorf("%s calls %s: got %v", role.name, method, err)
			}
		}
	}
}
