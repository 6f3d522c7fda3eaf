package e2e

import (
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestNextVersion: who names a version gets it, and a share of the reads is copied to the next one.
func TestNextVersion(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "next-version")
			e.Put(t, "next-version.yaml", strings.Replace(e.Text(t, "next-version.yaml"), "fraction: 10%", "fraction: 50%", 1))
			for number, name := range map[string]string{"9001": "shop", "9002": "next"} {
				e.demo(t, name, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			for version, upstream := range map[string]string{"": "shop", "next": "next", "shop": "shop", "admin": "shop"} {
				r := &harness.Request{Method: "GET", Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: "localhost", Path: "/"}
				if version != "" {
					r.Header = []harness.Field{{Name: "x-version", Value: version}}
				}
				e.wantFrom(t, harness.Do(r, false), 200, upstream)
			}
			// One request named it; what comes beyond that are copies.
			counter := map[string]string{harness.Go: `sluice_cluster_requests_total\{cluster="next"\}`, harness.Envoy: `envoy_cluster_upstream_rq_total\{envoy_cluster_name="next"\}`}
			harness.Eventually(t, proxy.Process, "copies go to next", func() error {
				e.wantFrom(t, e.get(t, "http", "localhost", "8080", "/"), 200, "shop")
				if harness.Sum(t, proxy.AdminGet("/stats/prometheus"), counter[kind]) < 3 {
					return errNotYet
				}
				return nil
			})
		})
	}
}
