package dataplane_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.b.String(), text)
}

// TestLastGood: a proxy that is started while its control plane is away serves what it served, and takes what changed
// when the control plane is back: also what is gone.
func TestLastGood(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "sotw"}[sotw], func(t *testing.T) { testLastGood(t, sotw) })
	}
}

func testLastGood(t *testing.T, sotw bool) {
	one, two, state := upstream(t, "one"), upstream(t, "two"), t.TempDir()
	cp := xdstest.Start(t, nil)
	cp.Set("east", append(fleet(t, one, time.Second, ""), xdstest.Cluster("gone", time.Second), xdstest.Endpoints("gone", two))...)
	as := bootstrap.Options{Server: cp.Addr, Fleet: "east", ID: "e", StateOfTheWorld: sotw}
	log := &journal{}
	options := dataplane.Options{State: state, Logger: slog.New(slog.NewTextHandler(log, nil))}
	p := startWith(t, as, options)
	p.waitReady()
	p.expect("one")
	p.stop() // it is written in the end, at the latest
	if log.has("no control plane answers") {
		t.Error("it started from disk, though the control plane answered")
	}
	cp.Stop()

	p = startWith(t, as, options)
	p.waitReady()
	p.expect("one")
	p.expectState("LIVE")
	if !log.has("no control plane answers: starting from the last good configuration") {
		t.Error("the log does not tell")
	}
	lastGood := func(want string) {
		t.Helper()
		if _, metrics := get(t, "http://"+p.admin+"/stats/prometheus"); !strings.Contains(metrics, "sluice_xds_last_good "+want+"\n") {
			t.Errorf("the metrics do not tell that sluice_xds_last_good is %s", want)
		}
	}
	lastGood("1")
	clusters := func() string {
		_, text := get(t, "http://"+p.admin+"/config_dump")
		return text
	}
	if !strings.Contains(clusters(), `"gone"`) {
		t.Error("a cluster is missing")
	}
	cp.Set("east", fleet(t, two, time.Second, "")...)
	cp.Recorder.Reset()
	cp.Restart()
	p.eventually("two")
	for deadline := time.Now().Add(xdstest.Patience); strings.Contains(clusters(), `"gone"`); {
		if time.Now().After(deadline) {
			t.Fatal("what is gone is still there")
		}
	}
	lastGood("0")
	p.stop()

	// Of another node it is not used; nor if it is damaged.
	cp.Stop()
	as.ID = "other"
	p = startWith(t, as, options)
	p.expectState("INITIALIZING")
	p.stop()
	if !log.has(`it is of node \"e\" of fleet \"east\"`) {
		t.Error("the log does not tell whose it is")
	}
	as.ID = "e"
	file := filepath.Join(state, "last-good")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p = startWith(t, as, options)
	p.expectState("INITIALIZING")
	if !log.has("it is damaged") {
		t.Error("the log does not tell of the damage")
	}
	// The next good one takes its place.
	cp.Restart()
	p.waitReady()
	p.stop()
	cp.Stop()
	p = startWith(t, as, options)
	p.waitReady()
	p.expect("two")
}
