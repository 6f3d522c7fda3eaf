package controlplane

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/admin"
	"github.com/sluice-proxy/sluice/controlplane/holdback"
	"github.com/sluice-proxy/sluice/controlplane/negotiate"
	"github.com/sluice-proxy/sluice/controlplane/quarantine"
	"github.com/sluice-proxy/sluice/controlplane/revision"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/srv"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/dns"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// BenchmarkEdit is from changed bytes to published snapshots, among 5,000 published Services in 50 files: what the save
// of a file costs beyond reading it and telling the proxies.
func BenchmarkEdit(b *testing.B) {
	const services, perFile = 5000, 100
	for _, edit := range []struct {
		name string
		text func(i int) string
	}{
		{"endpoint", func(i int) string {
			return fmt.Sprintf("{kind: Service, name: edited, hosts: [edited.example.com], endpoints: [10.0.0.1:%d]}", 1+i%60000)
		}},
		{"route", func(i int) string {
			return fmt.Sprintf("{kind: Service, name: edited, endpoints: [10.0.0.1:80]}\n---\n{kind: Route, name: r, hosts: [edited.example.com], rules: [{match: {path: {prefix: /%d}}, backends: [{service: edited}]}]}", i)
		}},
		{"service", func(i int) string {
			return fmt.Sprintf("{kind: Service, name: edited%d, hosts: [edited.example.com], endpoints: [10.0.0.1:80]}", i)
		}},
		{"comment", func(i int) string {
			return fmt.Sprintf("# %d\n{kind: Service, name: edited, hosts: [edited.example.com], endpoints: [10.0.0.1:80]}", i)
		}},
	} {
		b.Run(edit.name, func(b *testing.B) {
			var files []source.File
			for n := range services / perFile {
				var text strings.Builder
				for i := range perFile {
					fmt.Fprintf(&text, "---\n{kind: Service, name: s%d-%d, hosts: [s%d-%d.example.com], endpoints: [10.0.0.1:80, 10.0.0.2:80]}\n", n, i, n, i)
				}
				files = append(files, source.File{Path: fmt.Sprintf("%d.yaml", n), Data: []byte(text.String())})
			}
			common := string(files[0].Data)
			documents, err := store.Open(store.Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer documents.Close()
			log := slog.New(slog.NewTextHandler(io.Discard, nil))
			proxies := status.New(status.Options{Logger: log})
			names := srv.New(srv.Options{Asker: &dns.Client{}, Logger: log})
			defer names.Close()
			metrics := admin.NewMetrics(proxies, proxies)
			held := quarantine.New(quarantine.Options{Next: metrics, Logger: log})
			defer held.Close()
			p := &builder{
				log: log, documents: documents, snapshots: snapshot.NewCache(), proxies: proxies, metrics: metrics, quarantine: held,
				names: names, history: revision.New(revision.Options{Store: documents, Logger: log}), previous: map[string]built{}, told: store.ProblemLog{Log: log},
			}
			p.gate = &holdback.Gate{Room: negotiate.New(negotiate.Options{Next: metrics, Logger: log}), Documents: documents, Build: p.tried}
			i := 0
			build := func() {
				files[0].Data = []byte(common + "---\n" + edit.text(i) + "\n")
				i++
				p.build(files, true)
				p.save()
			}
			build()
			if p.snapshots.Get("default").Set("type.googleapis.com/envoy.config.cluster.v3.Cluster").Len() < services {
				b.Fatalf("got %v, want all services", p.problems()[:1])
			}
			b.ReportAllocs()
			for b.Loop() {
				build()
			}
		})
	}
}
