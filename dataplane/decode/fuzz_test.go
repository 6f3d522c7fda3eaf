package decode

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/format"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// FuzzDecode: whatever a control plane sends, decode returns, with a value or with an error, and its promises hold.
func FuzzDecode(f *testing.F) {
	seed := func(rs []*anypb.Any) {
		for _, r := range rs {
			for i, t := range resource.PushOrder {
				if t.URL == r.GetTypeUrl() {
					f.Add(uint8(i), r.GetValue())
				}
			}
		}
	}
	files, err := filepath.Glob(translated)
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d golden files of translate and error %v, want some", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		seed(resources(f, text))
	}
	for _, file := range []string{"testdata/accepted.txtar", "testdata/refused.txtar"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, one := range txtar.Parse(text).Files {
			if strings.HasSuffix(one.Name, ".yaml") {
				seed(resources(f, one.Data))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, value []byte) {
		r := &anypb.Any{TypeUrl: resource.PushOrder[int(kind)%len(resource.PushOrder)].URL, Value: value}
		got, err := decodeAny(r)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || len(e.Refusals) == 0 || len(err.Error()) > 10_000 || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("got the error %q", err)
			}
		} else {
			promises(t, got)
		}
		if _, err := Dump("", r); err != nil && got != nil {
			t.Logf("no dump: %v", err)
		}
	})
}

// promises are those of package config that its readers rely on.
func promises(t *testing.T, v any) {
	switch v := v.(type) {
	case *config.Listener:
		chains := v.Chains
		if v.Default != nil {
			chains = append(chains[:len(chains):len(chains)], v.Default)
		}
		if !v.Address.IsValid() && v.Path == "" || len(chains) == 0 || v.HandshakeTimeout <= 0 || v.Name == "" {
			t.Errorf("got %+v", v)
		}
		for _, c := range chains {
			chain(t, c)
		}
	case *config.RouteTable:
		table(t, v)
	case *config.Cluster:
		if v.Name == "" || v.ConnectTimeout <= 0 || v.IdleTimeout < 0 || v.Policy == config.LeastRequest && (v.ChoiceCount < 2 || v.ChoiceCount > 100) {
			t.Errorf("got %+v", v)
		}
		endpoints(t, v.Static)
	case *config.Assignment:
		endpoints(t, v.Endpoints)
	case *config.Certificate:
		if len(v.Chain) == 0 || len(v.Key) == 0 {
			t.Errorf("got %+v", v)
		}
	}
}

func chain(t *testing.T, c *config.FilterChain) {
	if (c.HTTP == nil) == (c.TCP == nil) {
		t.Errorf("got %+v, want one of HTTP and TCP", c)
		return
	}
	if c.TLS != nil && len(c.TLS.Certificates)+len(c.TLS.CertificateNames) == 0 {
		t.Errorf("got %+v, want a certificate", c.TLS)
	}
	var logs []*config.AccessLog
	if h := c.HTTP; h != nil {
		logs = h.AccessLogs
		if (h.RouteTable == nil) == (h.RouteTableName == "") || h.MaxHeaderBytes <= 0 || h.MaxHeaderCount <= 0 || h.MaxConcurrentStreams == 0 ||
			h.InitialStreamWindow == 0 || h.InitialConnectionWindow == 0 || h.IdleTimeout < 0 || h.StreamIdleTimeout < 0 || h.RequestTimeout < 0 {
			t.Errorf("got %+v", h)
		}
		if h.RouteTable != nil {
			table(t, h.RouteTable)
		}
	} else {
		logs = c.TCP.AccessLogs
		weights(t, c.TCP.Clusters)
		if c.TCP.MaxConnectAttempts == 0 || c.TCP.IdleTimeout < 0 {
			t.Errorf("got %+v", c.TCP)
		}
	}
	for _, l := range logs {
		for _, f := range append(slices.Collect(maps.Values(l.JSON)), l.Format) {
			for _, part := range f {
				if part.Name != "" && !slices.Contains(format.Operators, part.Name) {
					t.Errorf("got the operator %q, which nobody writes", part.Name)
				}
			}
		}
	}
}

func table(t *testing.T, table *config.RouteTable) {
	domains := map[string]bool{}
	for _, h := range table.Hosts {
		for _, d := range h.Domains {
			if domains[d] || d != strings.ToLower(d) || d == "" {
				t.Errorf("got the domain %q", d)
			}
			domains[d] = true
		}
		for _, r := range h.Routes {
			actions := 0
			for _, there := range []bool{r.Clusters != nil, r.Redirect != nil, r.Respond != nil} {
				if there {
					actions++
				}
			}
			if actions != 1 || r.Timeout < 0 || r.IdleTimeout != nil && *r.IdleTimeout < 0 {
				t.Errorf("got %+v", r)
			}
			if r.Clusters != nil {
				weights(t, r.Clusters)
			}
			if r.Redirect != nil && (r.Redirect.Status < 301 || r.Redirect.Status > 308) {
				t.Errorf("got %+v", r.Redirect)
			}
		}
	}
}

func weights(t *testing.T, clusters []config.WeightedCluster) {
	var sum uint64
	for _, c := range clusters {
		sum += uint64(c.Weight)
		if c.Name == "" {
			t.Errorf("got %+v, want names", clusters)
		}
	}
	if sum == 0 || sum > 1<<32-1 {
		t.Errorf("got %+v, want a sum above 0", clusters)
	}
}

func endpoints(t *testing.T, all []config.Endpoint) {
	seen := map[string]bool{}
	for _, e := range all {
		if !e.Address.IsValid() || e.Address.Path == "" && e.Address.Port() == 0 || e.Weight == 0 || seen[e.Address.String()] {
			t.Errorf("got %+v", e)
		}
		seen[e.Address.String()] = true
	}
}
