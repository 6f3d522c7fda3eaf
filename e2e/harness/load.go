package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Tally is what came of a load.
type Tally struct {
	Requests int
	// Served counts the answers with status 200 by upstream.
	Served map[string]int
	// Failures are requests without an answer, or with another status: the first 20 in words.
	Failures int
	Words    []string
	Took     time.Duration
}

// Percent is an upstream's share of all requests.
func (t *Tally) Percent(upstream string) float64 {
	return 100 * float64(t.Served[upstream]) / float64(max(t.Requests, 1))
}

// Loader sends requests to one URL over connections that it keeps.
type Loader struct {
	url    string
	host   string
	client *http.Client

	mu    sync.Mutex
	tally Tally // guarded by mu
}

// NewLoader makes a Loader; host, if not empty, is the Host.
func NewLoader(tb testing.TB, url, host string, workers int) *Loader {
	transport := &http.Transport{
		MaxIdleConnsPerHost: workers, MaxConnsPerHost: workers,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	return &Loader{
		url: url, host: host, client: &http.Client{Transport: transport, Timeout: Patience, CheckRedirect: noRedirect},
		tally: Tally{Served: map[string]int{}},
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Run sends n requests by a number of workers.
func (l *Loader) Run(n, workers int) Tally {
	start := time.Now()
	l.take()
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range todo {
				l.one()
			}
		})
	}
	wg.Wait()
	t := l.take()
	t.Took = time.Since(start)
	return t
}

// Background sends requests by a number of workers until the returned function is called, which gives the tally.
func (l *Loader) Background(workers int) func() Tally {
	start := time.Now()
	l.take()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.one()
			}
		})
	}
	return func() Tally {
		cancel()
		wg.Wait()
		t := l.take()
		t.Took = time.Since(start)
		return t
	}
}

// So is the tally so far.
func (l *Loader) So() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.Served = maps.Clone(t.Served)
	return t
}

func (l *Loader) take() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	l.tally = Tally{Served: map[string]int{}}
	return t
}

func (l *Loader) one() {
	upstream, err := l.request()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.Requests++
	if err == nil {
		l.tally.Served[upstream]++
		return
	}
	l.tally.Failures++
	if len(l.tally.Words) < 20 {
		l.tally.Words = append(l.tally.Words, err.Error())
	}
}

func (l *Loader) request() (string, error) {
	req, err := http.NewRequest(http.MethodGet, l.url, nil)
	if err != nil {
		return "", err
	}
	req.Host = l.host
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return resp.Header.Get("X-Echo"), nil
}
