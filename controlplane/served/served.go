// Package served is what is served at one moment, and how it reads.
//
// In: the last build. Out: the documents, the fleets, and the resources as text without secrets. It must not know who
// asks, nor how a build comes about.
package served

import (
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
