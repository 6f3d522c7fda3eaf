package translate

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
)

var update = flag.Bool("update", false, "write testdata, and delete what no test writes")

// render joins a fleet's resources, in push order and by name.
func render(t *testing.T, r Resources) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, typ := range resource.PushOrder {
		for _, name := range slices.Sorted(maps.Keys(r[typ.URL])) {
			text, err := YAML(typ.URL, r[typ.URL][name])
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString("---\n")
			out.Write(text)
		}
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	wanted := map[string]bool{}
	for name, fleet := range fleets() {
		path := filepath.Join("testdata", name+".yaml")
		wanted[path] = true
		t.Run(name, func(t *testing.T) {
			r, err := Fleet(fleet)
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, r)
			if bytes.Contains(got, []byte("the key")) {
				t.Error("shows a key")
			}
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("run with -update, and read the diff (-want +got):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if wanted[f] {
			continue
		}
		if !*update {
			t.Errorf("%s: no test writes it", f)
		} else if err := os.Remove(f); err != nil {
			t.Error(err)
		}
	}
}

// Equal input gives equal bytes, or proxies would get pushes that change nothing.
func TestDeterministic(t *testing.T) {
	for name := range fleets() {
		first, err := Fleet(fleets()[name])
		if err != nil {
			t.Fatal(err)
		}
		want := render(t, first)
		for range 10 {
			again, err := Fleet(fleets()[name])
			if err != nil {
				t.Fatal(err)
			}
			if got := render(t, again); !bytes.Equal(got, want) {
				t.Fatalf("%s: differs from one run to the next:\n%s", name, cmp.Diff(string(want), string(got)))
			}
		}
	}
}

// compile keeps ir's promises; a slip is told here, with the resource's name, before a proxy says NACK.
func TestBrokenPromises(t *testing.T) {
	tests := map[string]struct {
		fleet ir.Fleet
		want  []string
	}{
		"all are told": {
			ir.Fleet{Clusters: []*ir.Cluster{{Name: "a"}, {Name: "b"}}},
			[]string{`CDS "a"`, `CDS "b"`, "ConnectTimeout"},
		},
		"twice": {
			ir.Fleet{Certificates: []ir.Certificate{{Name: "a"}, {Name: "a"}}},
			[]string{`SDS "a": stands twice`},
		},
		"prefix of a fragment": {
			ir.Fleet{RouteTables: []*ir.RouteTable{{Name: "t", Hosts: []*ir.VirtualHost{{
				Name: "*", Host: "*", Rules: []ir.Rule{rule("r", ir.Match{PathKind: ir.PathPrefix, Path: "/a#b"})},
			}}}}},
			[]string{`VHDS "t/*"`, "PathSeparatedPrefix"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Fleet(&test.fleet)
			if err == nil || r != nil {
				t.Fatalf("got %v and error %v, want only an error", r, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestRedirectPort(t *testing.T) {
	tests := []struct {
		name     string
		on       socket
		host     string
		redirect ir.Redirect
		wantHost string
		wantPort uint32
	}{
		{"http to https, usual ports", socket{80, "http"}, "*", ir.Redirect{Scheme: "https"}, "", 0},
		{"http to https, exact host", socket{8080, "http"}, "a.example.com", ir.Redirect{Scheme: "https"}, "a.example.com", 0},
		{"http to https, any host, unusual port", socket{8080, "http"}, "*", ir.Redirect{Scheme: "https"}, "", 443},
		{"http to https, wildcard, unusual port", socket{8080, "http"}, "*.example.com", ir.Redirect{Scheme: "https"}, "", 443},
		{"a port of one's own", socket{8080, "http"}, "*", ir.Redirect{Scheme: "https", Port: 8443}, "", 8443},
		{"a port of one's own, exact host", socket{80, "http"}, "a.example.com", ir.Redirect{Scheme: "https", Port: 8443}, "", 8443},
		{"the scheme's own port, stated", socket{80, "http"}, "*", ir.Redirect{Scheme: "https", Port: 443}, "", 0},
		{"host alone keeps the listener's port", socket{8080, "http"}, "*", ir.Redirect{Host: "www.example.com"}, "www.example.com", 8080},
		{"host alone on a usual port", socket{443, "https"}, "*", ir.Redirect{Host: "www.example.com"}, "www.example.com", 0},
		{"host and scheme", socket{8080, "http"}, "*", ir.Redirect{Scheme: "https", Host: "www.example.com"}, "www.example.com", 0},
		{"https back to http", socket{8443, "https"}, "*", ir.Redirect{Scheme: "http"}, "", 80},
		{"https on port 80 to https", socket{80, "https"}, "*", ir.Redirect{Scheme: "https"}, "", 443},
		{"port alone", socket{8080, "http"}, "*", ir.Redirect{Port: 9090}, "", 9090},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := redirect(&test.redirect, test.host, test.on)
			if m.GetHostRedirect() != test.wantHost || m.GetPortRedirect() != test.wantPort {
				t.Errorf("got host %q and port %d, want %q and %d", m.GetHostRedirect(), m.GetPortRedirect(), test.wantHost, test.wantPort)
			}
		})
	}
}

func TestSocketOfARouteTable(t *testing.T) {
	got := socketsOf(fleets()["https"])
	want := map[string]socket{"web/http": {8080, "http"}, "web/https": {8443, "https"}}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A listener on one family takes that family alone.
func TestBothFamilies(t *testing.T) {
	for address, want := range map[string]bool{"[::]:1": true, "[::1]:1": false, "0.0.0.0:1": false} {
		l := listener(&ir.Listener{Name: address, Address: at(address)}, false, nil)
		if got := l.GetAddress().GetSocketAddress().GetIpv4Compat(); got != want {
			t.Errorf("%s: got ipv4_compat %v, want %v", address, got, want)
		}
	}
}
