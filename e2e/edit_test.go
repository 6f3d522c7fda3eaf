package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// The figures that a user is promised are logged; a test fails only far beyond them, since the machine may be busy.
const limit = 5 * time.Second

// TestWeightedSplit: 10,000 requests over 90/10 are within 1.5 points on both, and an edit of the weights holds.
func TestWeightedSplit(t *testing.T) {
	p := startPair(t)
	shares := func(v1 float64) {
		t.Helper()
		for _, kind := range harness.Kinds {
			tally := p.loader(t, kind, 8).Run(10000, 8)
			t.Logf("%s: v1 %.2f%%, v2 %.2f%%, %d failures, %.0f requests/s", kind, tally.Percent("v1"), tally.Percent("v2"),
				tally.Failures, float64(tally.Requests)/tally.Took.Seconds())
			if tally.Failures > 0 || math.Abs(tally.Percent("v1")-v1) > 1.5 || math.Abs(tally.Percent("v2")-(100-v1)) > 1.5 {
				t.Errorf("%s: want v1 %.0f%% within 1.5 points and no failure; %v", kind, v1, tally.Words)
			}
		}
	}
	shares(90)
	p.edit(t, weights, turnedWeights)
	var wg sync.WaitGroup
	for _, kind := range harness.Kinds {
		wg.Go(func() {
			l := p.loader(t, kind, 2)
			took := harness.Eventually(t, nil, kind+": new weights", func() error { return turned(l) })
			t.Logf("%s: the new weights hold %v after the edit (promised: 1s)", kind, took.Round(time.Millisecond))
			if took > limit {
				t.Errorf("%s: the edit took %v", kind, took)
			}
		})
	}
	wg.Wait()
	shares(10)
}

// TestConnectTimeoutEdit: an edit of a cluster's connect timeout alone makes Envoy warm the cluster anew, for which it
// needs the endpoints again: with a server that does not send them it takes 15 s.
func TestConnectTimeoutEdit(t *testing.T) {
	p := startPair(t)
	p.edit(t, "name: v1\nendpoints:", "name: v1\nconnectTimeout: 7s\nendpoints:")
	var wg sync.WaitGroup
	for _, kind := range harness.Kinds {
		wg.Go(func() {
			took := harness.Eventually(t, p.proxies[kind].Process, kind+": new connect timeout", func() error {
				return activeTimeout(p.proxies[kind].AdminGet("/config_dump"), "v1", "7s")
			})
			t.Logf("%s: the connect timeout is live %v after the edit (promised: 1s)", kind, took.Round(time.Millisecond))
			if took > limit {
				t.Errorf("%s: the edit took %v", kind, took)
			}
		})
	}
	wg.Wait()
}

// activeTimeout looks for a cluster with a connect timeout among those that are active, not warming.
func activeTimeout(dump, name, want string) error {
	var parsed struct {
		Configs []struct {
			Active []struct {
				Cluster struct {
					Name           string `json:"name"`
					ConnectTimeout string `json:"connect_timeout"`
				} `json:"cluster"`
			} `json:"dynamic_active_clusters"`
		} `json:"configs"`
	}
	if err := json.Unmarshal([]byte(dump), &parsed); err != nil {
		return err
	}
	for _, c := range parsed.Configs {
		for _, a := range c.Active {
			if a.Cluster.Name == name {
				if a.Cluster.ConnectTimeout == want {
					return nil
				}
				return fmt.Errorf("connect_timeout is %s", a.Cluster.ConnectTimeout)
			}
		}
	}
	return fmt.Errorf("no active cluster %s", name)
}

// TestCommentPushesNothing: a comment line above everything is built, and pushes nothing to any proxy. That nothing came
// is seen at the next edit, of one route: that is all that comes.
func TestCommentPushesNothing(t *testing.T) {
	p := startPair(t)
	before := map[string]map[string]int{}
	for _, kind := range harness.Kinds {
		before[kind] = p.proxies[kind].AllUpdates()
		t.Logf("%s: updates so far: %v", kind, before[kind])
	}
	builds := p.cp.Builds()
	p.stage.Put(t, "split.yaml", "# a comment\n"+p.stage.Text(t, "split.yaml"))
	harness.Eventually(t, p.cp.Process, "the comment is built", func() error {
		if now := p.cp.Builds(); now == builds {
			return fmt.Errorf("%d builds", now)
		}
		return nil
	})
	p.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		l := p.loader(t, kind, 2)
		harness.Eventually(t, p.proxies[kind].Process, kind+": new weights", func() error { return turned(l) })
		want := maps.Clone(before[kind])
		want["VHDS"]++
		if got := p.proxies[kind].AllUpdates(); !maps.Equal(got, want) {
			t.Errorf("%s: updates by type: got %v, want %v: the edit's VHDS alone", kind, got, want)
		}
	}
	if log := p.cp.Log(); strings.Count(log, "msg=published") != 2 {
		t.Errorf("want the control plane to publish twice, at the start and at the edit")
	}
}
