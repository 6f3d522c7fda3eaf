package admin

import (
	"context"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// Planner says what would change.
type Planner interface {
	Plan(ctx context.Context, request *adminv1.PlanRequest) (*adminv1.PlanResponse, error)
}

// Describer says what documents there are, and what became of them.
type Describer interface {
	List(request *adminv1.ListRequest) (*adminv1.ListResponse, error)
	Describe(ctx context.Context, request *adminv1.DescribeRequest) (*adminv1.DescribeResponse, error)
}

// Revisions are what was served, and what can be brought back.
type Revisions interface {
	History(request *adminv1.HistoryRequest) (*adminv1.HistoryResponse, error)
	Undo(ctx context.Context, request *adminv1.UndoRequest) (*adminv1.UndoResponse, error)
}

// DefinitionsOptions say where the answers come from. All are required.
type DefinitionsOptions struct {
	Planner   Planner
	Describer Describer
	Revisions Revisions
}

// Definitions implements adminv1.DefinitionServiceServer.
type Definitions struct {
	adminv1.UnimplementedDefinitionServiceServer
	opts DefinitionsOptions
}

var _ adminv1.DefinitionServiceServer = (*Definitions)(nil)

// NewDefinitions makes a Definitions.
func NewDefinitions(opts DefinitionsOptions) *Definitions { return &Definitions{opts: opts} }

// Plan says what would change if the files were others.
func (s *Definitions) Plan(ctx context.Context, request *adminv1.PlanRequest) (*adminv1.PlanResponse, error) {
	return s.opts.Planner.Plan(ctx, request)
}

// List names the documents.
func (s *Definitions) List(ctx context.Context, request *adminv1.ListRequest) (*adminv1.ListResponse, error) {
	return s.opts.Describer.List(request)
}

// Describe says what a document became.
func (s *Definitions) Describe(ctx context.Context, request *adminv1.DescribeRequest) (*adminv1.DescribeResponse, error) {
	return s.opts.Describer.Describe(ctx, request)
}

// History tells the last revisions.
func (s *Definitions) History(ctx context.Context, request *adminv1.HistoryRequest) (*adminv1.HistoryResponse, error) {
	return s.opts.Revisions.History(request)
}

// Undo brings a revision back.
func (s *Definitions) Undo(ctx context.Context, request *adminv1.UndoRequest) (*adminv1.UndoResponse, error) {
	return s.opts.Revisions.Undo(ctx, request)
}
