package controlplane

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// panicking is a log that panics when it is to tell of a problem: a fault in the middle of a build.
type panicking struct {
	slog.Handler
	on *atomic.Bool
}

func (p panicking) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "problem" && p.on.CompareAndSwap(true, false) {
		panic("a fault of ours")
	}
	return p.Handler.Handle(ctx, r)
}

// TestBuildPanics: a panic while a build is made leaves what is served, is told and counted, and the next edit is built.
func TestBuildPanics(t *testing.T) {
	const one = "kind: Gateway\nname: default\nlisteners: [{name: http, port: 1080, protocol: HTTP}]\n---\nkind: Service\nname: one\nhosts: [a.test]\nendpoints: [127.0.0.1:1]\n"
	var on atomic.Bool
	dir := t.TempDir()
	r := start(t, dir, func(o *Options) {
		o.Logger = slog.New(panicking{o.Logger.Handler(), &on})
	})
	r.write("a.yaml", one)
	s := r.stream("default")
	s.Subscribe(resource.ClusterType)
	r.log.wait(t, "msg=published", 1)
	on.Store(true)
	r.write("a.yaml", one+"---\nkind: Service\nname: two\nhosts: [b.test]\nendpoint: [127.0.0.1:2]\n")
	r.log.wait(t, "a build came to nothing.*panic=\"a fault of ours\" stack=.*build.go", 1)
	if _, text := r.get("/metrics"); !strings.Contains(text, `sluice_controlplane_builds_total{result="panic"} 1`) {
		t.Errorf("got no count of the panic in\n%s", text)
	}
	r.write("a.yaml", one+"---\nkind: Service\nname: two\nhosts: [b.test]\nendpoints: [127.0.0.1:2]\n")
	r.log.wait(t, "msg=published", 2)
}
