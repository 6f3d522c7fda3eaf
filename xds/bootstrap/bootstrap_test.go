package bootstrap_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

var update = flag.Bool("update", false, "write golden files")

var written = map[string]bootstrap.Options{
	"plain":  {Server: "127.0.0.1:18000", Fleet: "edge", ID: "edge-1", Admin: "127.0.0.1:9901"},
	"limits": {Server: "127.0.0.1:18000", Fleet: "edge", ID: "edge-1", MaxConnections: 50_000, MaxHeap: 1 << 30},
	"sotw":   {Server: "[::1]:18000", Fleet: "edge", ID: "edge-1", StateOfTheWorld: true},
	"mtls": {
		Server: "control.example.com:18000", Fleet: "edge", ID: `edge "1": {a}`,
		CA: "ca.crt", Certificate: "proxy.crt", Key: "proxy.key",
	},
	"joined": {
		Server: "control.example.com:18000", Fleet: "edge", ID: "edge-1",
		IdentityFile: "/etc/sluice-proxy/identity.json", TrustFile: "/etc/sluice-proxy/trust.json",
	},
	"tls-by-address": {Server: "10.0.0.1:18000", Fleet: "edge", ID: "edge-1", CA: "ca.crt"},
}

func TestWrite(t *testing.T) {
	for name, options := range written {
		t.Run(name, func(t *testing.T) {
			got, err := bootstrap.Write(options)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "write-"+name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			b, err := bootstrap.Read(got)
			if err != nil {
				t.Fatal(err)
			}
			if b.Node.Id != options.ID || b.Node.Cluster != options.Fleet || b.Admin != options.Admin || len(b.Clusters) != 0 {
				t.Errorf("read back: node %v, admin %q, %d clusters", b.Node, b.Admin, len(b.Clusters))
			}
			if !b.DynamicClusters || !b.DynamicListeners || b.ADS.StateOfTheWorld != options.StateOfTheWorld {
				t.Errorf("read back: %+v", b)
			}
			if got := b.ADS.Target.Addresses[0].Address; got != options.Server {
				t.Errorf("server: got %s, want %s", got, options.Server)
			}
			if o := b.Overload; uint64(o.MaxConnections) != options.MaxConnections || uint64(o.MaxHeap) != options.MaxHeap ||
				(o.StopRequests > 0) != (options.MaxHeap > 0) || (o.RejectConnections > 0) != (options.MaxHeap > 0) {
				t.Errorf("read back: %+v", o)
			}
			if (b.ADS.Target.TLS != nil) != (options.CA+options.TrustFile != "") {
				t.Error("TLS: as it was not written")
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, o := range map[string]bootstrap.Options{
		`server: got "here", want host:port`:      {Server: "here", Fleet: "f", ID: "i"},
		`server: got ":1", want host:port`:        {Server: ":1", Fleet: "f", ID: "i"},
		`admin: got "a:b", want host:port`:        {Server: "a:1", Fleet: "f", ID: "i", Admin: "a:b"},
		`fleet and id: got "", want names`:        {Server: "a:1", Fleet: "f"},
		`certificate and key: got one, want both`: {Server: "a:1", Fleet: "f", ID: "i", CA: "c", Key: "k"},
		`certificate: got no CA with it`:          {Server: "a:1", Fleet: "f", ID: "i", Certificate: "c", Key: "k"},
		`identity and trust files: got one`:       {Server: "a:1", Fleet: "f", ID: "i", TrustFile: "t"},
		`got files of secrets and a CA`:           {Server: "a:1", Fleet: "f", ID: "i", TrustFile: "t", IdentityFile: "k", CA: "c"},
	} {
		if _, err := bootstrap.Write(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
