package httpproxy

import (
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// Each row is what Envoy 1.40 was seen to do with cluster_header.
func TestClusterHeader(t *testing.T) {
	other := newRig(t, say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"))
	r := newRig(t, say(ok), func(r *rig) {
		r.routes[0].Clusters, r.routes[0].ClusterHeader = nil, "x-to"
		// It is read before it is changed.
		r.routes[0].RequestHeaders = &config.HeaderChanges{Add: []config.HeaderChange{{Name: "x-to", Value: "other", Overwrite: true}}}
		r.others = map[string]*upstream.Client{"other": other.client}
	})
	for _, test := range []struct {
		name   string
		lines  []string
		status int
		body   string
	}{
		{"one", []string{"X-To: up"}, 200, "ok"},
		{"another", []string{"x-to: other"}, 200, "other"},
		{"two lines", []string{"x-to: up", "x-to: other"}, 200, "ok"},
		{"unknown", []string{"x-to: nope"}, 503, ""},
		{"empty", []string{"x-to:"}, 503, ""},
		{"missing", nil, 503, ""},
	} {
		if a := r.dial().say(get("/", test.lines...)).answer("GET"); a.StatusCode != test.status || a.body != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.name, a.StatusCode, a.body, test.status, test.body)
		}
	}
}
