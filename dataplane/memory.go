package dataplane

import (
	"log/slog"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/lastgood"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/client"
)

// memory joins the file of the last good configuration to who writes it and who may need it. Its zero value keeps and
// knows nothing.
type memory struct {
	assembler *assemble.Assembler
	keeper    *lastgood.Keeper
	saved     *lastgood.Saved
	logger    *slog.Logger
}

// newMemory reads what is there; a file that cannot be used is told and left alone until there is something better. The
// error is of the folder.
func newMemory(dir string, b *bootstrap.Bootstrap, logger *slog.Logger) (*memory, error) {
	m := &memory{logger: logger}
	if dir == "" || b.ADS == nil {
		return m, nil
	}
	node := lastgood.Node{ID: b.Node.GetId(), Cluster: b.Node.GetCluster()}
	var err error
	if m.keeper, err = lastgood.NewKeeper(dir, node, func() []client.Update { return m.assembler.Serving() }, logger); err != nil {
		return nil, err
	}
	if m.saved, err = lastgood.Load(dir, node); err != nil {
		logger.Error("starting without", "error", err)
	}
	return m, nil
}

// fallback is the client's; nil if there is nothing.
func (m *memory) fallback() func() []client.Update {
	if m.saved == nil {
		return nil
	}
	return func() []client.Update {
		select {
		case <-m.assembler.Ready():
			return nil
		default:
		}
		m.logger.Warn("no control plane answers: starting from the last good configuration", "saved", m.saved.At.UTC().Format(time.RFC3339))
		return m.saved.Updates
	}
}

// changed is the assembler's; nil if nothing is kept.
func (m *memory) changed() func() {
	if m.keeper == nil {
		return nil
	}
	return m.keeper.Changed
}
