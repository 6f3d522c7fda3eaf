package controlplane

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/admin"
	"github.com/sluice-proxy/sluice/controlplane/status"
)

// TestSurvive: a build that panics is told with where, and the next goes on.
func TestSurvive(t *testing.T) {
	var log bytes.Buffer
	proxies := status.New(status.Options{})
	b := &builder{log: slog.New(slog.NewTextHandler(&log, nil)), metrics: admin.NewMetrics(proxies, proxies)}
	if b.survive(func() { panic("nil map") }) || !strings.Contains(log.String(), "nil map") || !strings.Contains(log.String(), "survive_test.go") {
		t.Errorf("got %s, want the panic and its place", &log)
	}
	if !b.survive(func() {}) {
		t.Error("got a fault of a build that went well")
	}
}
