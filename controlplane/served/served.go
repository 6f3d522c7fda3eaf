// Package served is what is served at one moment, and how it reads.
//
// In: the last build. Out: the documents, the fleets, and the resources as text without secrets. It must not know who
// asks, nor how a build comes about.
package served

import (
	"strings"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Served is what is served at one moment. It is not changed.
type Served struct {
	Result *store.Result
	// Fleets by name.
	Fleets map[string]Fleet
}

// Fleet is what a fleet has.
type Fleet struct {
	// IR is nil where no Gateway names the fleet any more.
	IR *ir.Fleet
	// Snapshot is as it was published; nil is nothing yet.
	Snapshot *snapshot.Snapshot
}

// Problem is one in the words of the API.
func Problem(p store.Problem) *adminv1.Problem {
	return &adminv1.Problem{
		File: text(p.File), Line: int32(p.Line), Column: int32(p.Column), Document: text(p.Ref.String()), Code: p.Code,
		Severity: string(p.Severity), Field: text(p.Field), Message: text(p.Message), Serving: p.Serving,
	}
}

// DocumentOf is that of a rule's ID: "Route/shop#name", "Gateway/web/http".
func DocumentOf(id string) definition.Ref {
	id, _, _ = strings.Cut(id, "#")
	kind, name, _ := strings.Cut(id, "/")
	name, _, _ = strings.Cut(name, "/")
	return definition.Ref{Kind: kind, Name: name}
}

// text is what protobuf takes for a string: it must be UTF-8, which a file's name need not be.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
