package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// fickle is an origin that fails in every way that it can, at random; else it answers what it got.
func fickle(head string, c *originConn) {
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), c.r)))
	if err != nil {
		c.Close()
		return
	}
	early := rand.N(8)
	switch early {
	case 0:
		c.Close()
		return
	case 1: // without a look at the body, some of which may lie there
		c.say(unavailable)
		c.Close()
		return
	case 2: // in the middle
		_, _ = io.CopyN(io.Discard, req.Body, max(0, req.ContentLength/2))
		c.Close()
		return
	case 3:
		_, _ = io.CopyN(io.Discard, req.Body, 100)
		c.say("HTTP/1.1 103 Early Hints\r\n\r\n" + unavailable)
		c.Close()
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		c.Close()
		return
	}
	switch early {
	case 4:
		c.say(unavailable)
	case 5:
		c.drain() // too slow
	default:
		answer := fmt.Sprintf("%d %08x", len(body), crc32.ChecksumIEEE(body))
		c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	}
}

// slowly gives out a body in pieces, with pauses.
type slowly struct{ r *bytes.Reader }

func (s slowly) Read(p []byte) (int, error) {
	if rand.N(4) == 0 {
		time.Sleep(rand.N(time.Millisecond))
	}
	return s.r.Read(p[:min(len(p), 1+rand.N(20_000))])
}

// Whatever endpoints do, an answer of 200 is to the whole body, once.
func TestRetryChaos(t *testing.T) {
	policy := config.Retry{On: config.On5xx, Attempts: 6, PerTryTimeout: 100 * time.Millisecond, BodyBytes: 200_000}
	r := newRig(t, nil, retrying(policy, fickle, fickle, fickle), func(r *rig) { r.routes[0].Timeout = 5 * time.Second })
	chaos(t, r, false)
}

// The same with copies for an endpoint that is no better, and clients that go away: nothing of it is left.
func TestRetryChaosWithCopies(t *testing.T) {
	copies := newRig(t, fickle)
	policy := config.Retry{On: config.On5xx, Attempts: 6, PerTryTimeout: 100 * time.Millisecond, BodyBytes: 200_000}
	r := newRig(t, nil, retrying(policy, fickle, fickle, fickle), func(r *rig) {
		r.routes[0].Timeout = 500 * time.Millisecond
		r.routes[0].Mirrors = []config.Mirror{{Cluster: "copy"}, {Cluster: "copy"}}
		r.others = map[string]*upstream.Client{"copy": copies.client}
	})
	chaos(t, r, true)
	nothingLeft(t, r, copies)
	if n := copies.client.Cluster.Stats.Mirrors.Load(); n < 300 {
		t.Errorf("%d copies, want two of each request", n)
	}
}

// nothingLeft waits for the end of all that a rig and the copies of its requests have under way.
func nothingLeft(t *testing.T, r, copies *rig) {
	t.Helper()
	for name, c := range map[string]*cluster.Cluster{"the cluster": r.client.Cluster, "the copies": copies.client.Cluster} {
		eventually(t, "the requests of "+name, func() bool { return c.Stats.RequestsActive.Load() == 0 })
		if n := c.Stats.RetriesActive.Load(); n != 0 {
			t.Errorf("%s: %d retries are still counted", name, n)
		}
		for _, e := range c.Endpoints {
			if n := e.Active.Load(); n != 0 {
				t.Errorf("%s: %d requests of %s are still counted", name, n, e.Address)
			}
		}
	}
	if n := mirrored.Load(); n != 0 {
		t.Errorf("%d bytes of copies are still counted", n)
	}
}

// chaos sends 200 requests, whose answers must be right if they are 200; aborts: every fourth client goes away.
func chaos(t *testing.T, r *rig, aborts bool) {
	t.Helper()
	chaosOver(t, r, &http.Transport{}, aborts)
}

func chaosOver(t *testing.T, r *rig, transport *http.Transport, aborts bool) {
	t.Helper()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var well, failed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				body := make([]byte, rand.N([]int{1, 2000, 50_000, 250_000}[rand.N(4)]))
				for i := range body {
					body[i] = byte(rand.Uint32())
				}
				patience := time.Minute
				if aborts && rand.N(4) == 0 {
					patience = rand.N(100 * time.Millisecond)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				req, err := http.NewRequestWithContext(ctx, "PUT", "http://"+r.address+"/", slowly{bytes.NewReader(body)})
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				if req.ContentLength = -1; rand.N(2) == 0 {
					req.ContentLength = int64(len(body))
				}
				if len(body) == 0 {
					req.Body, req.ContentLength = nil, 0
				}
				res, err := client.Do(req)
				if err != nil {
					failed.Add(1) // an answer that came before the end of the body, and its connection's end
					cancel()
					continue
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				cancel()
				want := fmt.Sprintf("%d %08x", len(body), crc32.ChecksumIEEE(body))
				switch {
				case res.StatusCode != 200 || err != nil:
					failed.Add(1)
				case string(got) != want:
					t.Errorf("got %s, want %s", got, want)
				default:
					well.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if !aborts && well.Load() < 100 {
		t.Errorf("%d are well and %d failed, want most well", well.Load(), failed.Load())
	}
	stats := r.client.Cluster.Stats
	t.Logf("%d are well and %d failed after %d retries, %d of them in vain", well.Load(), failed.Load(), stats.Retries.Load(), stats.RetriesExhausted.Load())
	// Whoever has gone away may have done so just now.
	eventually(t, "the end of retries", func() bool { return stats.RetriesActive.Load() == 0 })
}
