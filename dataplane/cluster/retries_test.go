package cluster

import (
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// The limit is a number, or a share of the requests under way that is never below some.
func TestRetryLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		config config.Cluster
		active int
		want   int
	}{
		"a number":                  {config.Cluster{MaxRetries: 3}, 100, 3},
		"none":                      {config.Cluster{}, 100, 0},
		"a share":                   {config.Cluster{MaxRetries: 3, RetryBudget: &config.RetryBudget{Percent: 20, Least: 2}}, 100, 20},
		"a share rounds down":       {config.Cluster{RetryBudget: &config.RetryBudget{Percent: 20}}, 9, 1},
		"a share of few":            {config.Cluster{RetryBudget: &config.RetryBudget{Percent: 20, Least: 2}}, 1, 2},
		"a share of nothing":        {config.Cluster{RetryBudget: &config.RetryBudget{}}, 1000, 0},
		"parts of a hundredth":      {config.Cluster{RetryBudget: &config.RetryBudget{Percent: 0.5}}, 1000, 5},
		"a share instead of number": {config.Cluster{MaxRetries: 9, RetryBudget: &config.RetryBudget{Least: 1}}, 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := New(&tt.config, nil, nil)
			c.Stats.RequestsActive.Store(int64(tt.active))
			got := 0
			for got <= 100 && c.AcquireRetry() {
				got++
			}
			if got != tt.want || c.Stats.RetryOverflows.Load() != 1 || c.Stats.RetriesActive.Load() != int64(got) {
				t.Fatalf("got %d retries, %d active, %d refused; want %d and the next refused", got,
					c.Stats.RetriesActive.Load(), c.Stats.RetryOverflows.Load(), tt.want)
			}
			if got == 0 {
				return
			}
			c.ReleaseRetry()
			if !c.AcquireRetry() {
				t.Error("one was given back, and none can be had")
			}
		})
	}
}
