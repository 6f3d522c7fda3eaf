package healthcheck

import (
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Each letter is a check: w is well, f is failing, i is ill. After it stands what the endpoint is: + or -, and ? if it would be
// something else were there more of it.
func TestCount(t *testing.T) {
	for _, test := range []struct {
		name   string
		failed bool
		first  bool
		checks string
		want   string
	}{
		{"one that is well brings a new one in", true, true, "w", "+"},
		{"one that fails keeps it out", true, true, "f", "-"},
		{"then it takes as many as any", true, true, "fww", "--?+"},
		{"the first failure takes out who was in", false, true, "f", "-"},
		{"thresholds", false, false, "fffww", "+?+?--?+"},
		{"one that is well between", false, false, "ffwff", "+?+?++?+?"},
		{"one that fails between", true, false, "wfw", "-?--?"},
		{"an answer that says so counts at once", false, false, "i", "-"},
		{"after one that fails, too", false, false, "fi", "+?-"},
		{"what was counted is forgotten", false, false, "fffwwff", "+?+?--?++?+?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := count{first: test.first}
			cfg := &config.HealthCheck{HealthyThreshold: 2, UnhealthyThreshold: 3}
			failed, got := test.failed, ""
			for _, letter := range test.checks {
				v := map[rune]verdict{'w': well, 'f': failing, 'i': ill}[letter]
				changed, pending := c.next(cfg, v, failed)
				if changed {
					failed = !failed
				}
				if got += map[bool]string{true: "-", false: "+"}[failed]; pending {
					got += "?"
				}
			}
			if got != test.want {
				t.Errorf("%s: got %s, want %s", test.checks, got, test.want)
			}
		})
	}
}
