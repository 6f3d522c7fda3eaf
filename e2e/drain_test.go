package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// kept is a connection that somebody keeps open.
type kept struct {
	conn   net.Conn
	reader *bufio.Reader
}

func keepOpen(t *testing.T, port int) *kept {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &kept{conn, bufio.NewReader(conn)}
}

// ended asks once, and says whether the connection has come, or is about to come, to its end.
func (k *kept) ended() bool {
	if _, err := fmt.Fprint(k.conn, "GET / HTTP/1.1\r\nHost: split.example.com\r\n\r\n"); err != nil {
		return true
	}
	resp, err := http.ReadResponse(k.reader, nil)
	return err != nil || resp.Close || whole(resp) != nil
}

func whole(resp *http.Response) error {
	defer resp.Body.Close()
	_, err := bufio.NewReader(resp.Body).Discard(1 << 10)
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

// TestPlanDrains: whose connections drain is told by the plan of each edit, and is so on both kinds of proxy.
func TestPlanDrains(t *testing.T) {
	p := startPair(t)
	listener := "protocol: HTTP}"
	for _, test := range []struct {
		name, old, now string
		drains         map[string]bool
	}{
		{"a route", weights, turnedWeights, nil},
		{"a limit on connections", listener, "protocol: HTTP, limits: {connections: 500}}", map[string]bool{harness.Envoy: true}},
		{"an option of HTTP", "limits: {connections: 500}}", "limits: {connections: 500, streams: 50}}", map[string]bool{harness.Envoy: true, harness.Go: true}},
		{"an endpoint's weight", turnedWeights, weights, nil},
	} {
		next := p.planned(t, test.old, test.now)
		var answer struct {
			Fleets []struct {
				Fleet  string
				Drains []struct{ Listener, Proxies string }
			}
		}
		if err := json.Unmarshal([]byte(p.cp.Sluice("plan", "-f", next, "-o", "json")), &answer); err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, f := range answer.Fleets {
			for _, d := range f.Drains {
				if f.Fleet == harness.Envoy && d.Proxies == "envoy" || f.Fleet == harness.Go && d.Proxies == "sluice" {
					told[f.Fleet] = true
				}
			}
		}
		open := map[string]*kept{}
		for _, kind := range harness.Kinds {
			if open[kind] = keepOpen(t, p.stage.Ports[kind]); open[kind].ended() {
				t.Fatalf("%s: %s: the connection ends before the edit", test.name, kind)
			}
		}
		text := p.stage.Text(t, "split.yaml")
		p.stage.Put(t, "split.yaml", strings.ReplaceAll(text, test.old, test.now))
		for _, kind := range harness.Kinds {
			harness.Eventually(t, p.cp.Process, kind+" has "+test.name, func() error {
				var again struct{ Documents []any }
				if err := json.Unmarshal([]byte(p.cp.Sluice("plan", "-f", next, "-o", "json")), &again); err != nil || len(again.Documents) > 0 {
					return errNotYet
				}
				return nil
			})
			p.cp.WaitSynced(kind, 1)
		}
		for _, kind := range harness.Kinds {
			if told[kind] != test.drains[kind] {
				t.Errorf("%s: %s: the plan says drains %v, want %v", test.name, kind, told[kind], test.drains[kind])
			}
			// Drained connections end within the drain time, which is a second here; others are asked beyond it.
			drained := false
			patience := 3 * time.Second
			if test.drains[kind] {
				patience = harness.Patience
			}
			for end := time.Now().Add(patience); !drained && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				drained = open[kind].ended()
			}
			if drained != test.drains[kind] {
				t.Errorf("%s: %s: drained %v, want %v", test.name, kind, drained, test.drains[kind])
			}
		}
	}
}
