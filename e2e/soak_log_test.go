package e2e

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// follow asks for what the proxy logs of requests.
func (s *soak) follow(tokens ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range tokens {
		if text := fmt.Sprintf("%016x", token); token != 0 && len(s.followed) < 40 && s.followed[text] == "" {
			s.followed[text] = ""
		}
	}
}

// followLog looks again and again for the lines that follow asks for, and for signs of a fault of ours, until stop is called:
// the harness keeps only the last seconds of a log this long.
func (s *soak) followLog(p *harness.Proxy) (stop func()) {
	s.followed = map[string]string{}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for last, bad := false, false; !last; {
			select {
			case <-ended:
				last = true
			case <-time.After(500 * time.Millisecond):
			}
			text := p.Log()
			s.findFollowed(text)
			for _, word := range []string{"DATA RACE", "panic"} {
				if at := strings.Index(text, word); at >= 0 && !bad {
					bad = true
					s.fault("the proxy's log has %q: %.2000s", word, text[at:])
				}
			}
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

// findFollowed finds what was not found before.
func (s *soak) findFollowed(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for token, line := range s.followed {
		if line == "" {
			missing = append(missing, token)
		}
	}
	if len(missing) == 0 {
		return
	}
	for line := range strings.Lines(text) {
		for _, token := range missing {
			if strings.Contains(line, token) {
				s.followed[token] = strings.TrimSpace(line)
			}
		}
	}
}
