package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func published(version string, resources int) map[string]map[string]Published {
	types := map[string]Published{}
	for _, t := range resource.PushOrder {
		types[t.URL] = Published{Version: version, Resources: resources}
	}
	types[resource.SecretType] = Published{Version: version} // there is no TLS
	return map[string]map[string]Published{"edge": types}
}

func connect(t *Tracker, id server.StreamID, name string) {
	t.StreamOpened(id, "127.0.0.1:1")
	t.Node(id, server.Node{ID: name, Cluster: "edge", Agent: "envoy", Version: "1.40.0"})
}

// accept plays a proxy that takes all but secrets.
func accept(t *Tracker, id server.StreamID, version string) {
	for _, k := range resource.PushOrder {
		if k.URL != resource.SecretType {
			t.Sent(id, k.URL, version)
			t.Acked(id, k.URL, version)
		}
	}
}

func cds(t *Tracker) Type { return t.Proxies("edge")[0].Types[0] }

func TestStates(t *testing.T) {
	var log bytes.Buffer
	tracker := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	tracker.Publish(published("1", 1))
	connect(tracker, 1, "a")
	step := func(name string, want State, do func()) {
		t.Helper()
		do()
		if got := cds(tracker); got.State != want {
			t.Errorf("%s: got %+v, want %s", name, got, want)
		}
	}
	const url = resource.ClusterType
	step("connected", NotSent, func() {})
	step("sent", Stale, func() { tracker.Sent(1, url, "1") })
	step("accepted", Synced, func() { tracker.Acked(1, url, "1") })
	step("something newer", Stale, func() { tracker.Publish(published("2", 1)) })
	step("sent again", Stale, func() { tracker.Sent(1, url, "2") })
	step("refused", Error, func() { tracker.Nacked(1, url, "2", "no\xff") })
	if got := cds(tracker); got.Error != "no\uFFFD" || got.Accepted != "1" || got.Sent != "2" {
		t.Errorf("got %+v, want the text, and both versions", got)
	}
	step("refused again", Error, func() { tracker.Nacked(1, url, "2", "no\xff") })
	step("something newer, and what was refused is as it was", Error, func() { tracker.Publish(published("3", 1)) })
	step("mended", Stale, func() { tracker.Sent(1, url, "3") })
	step("accepted at last", Synced, func() { tracker.Acked(1, url, "3") })
	step("a stream that is not known", Synced, func() { tracker.Nacked(9, url, "3", "x") })
	step("reconnected", NotSent, func() { connect(tracker, 2, "a") })
	step("the old stream may be another proxy's: it is heard, and does not count", NotSent, func() { tracker.Nacked(1, url, "3", "x"); tracker.StreamClosed(1) })
	if p := tracker.Proxies(""); len(p) != 1 || !p[0].Connected || p[0].Agent != "envoy 1.40.0" {
		t.Errorf("got %+v, want one connected proxy", p)
	}
	step("a type that nobody knows", NotSent, func() { tracker.Acked(2, "type.example/X", "1") })
	if n := strings.Count(log.String(), "proxy refused"); n != 2 {
		t.Errorf("got %d lines of rejections, want 2:\n%s", n, &log)
	}
	tracker.StreamClosed(2)
	if p := tracker.Proxies(""); len(p) != 1 || p[0].Connected {
		t.Errorf("got %+v, want one that went", p)
	}
	tracker.Nacked(2, url, "3", strings.Repeat("é", maxText))
}

// TestDoubleID has two proxies under one id: when the later one goes, what the other told meanwhile counts.
func TestDoubleID(t *testing.T) {
	var log bytes.Buffer
	tracker := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	tracker.Publish(published("1", 1))
	connect(tracker, 1, "a")
	connect(tracker, 2, "a")
	connect(tracker, 3, "a")
	accept(tracker, 1, "1")
	if got := cds(tracker); got.State != NotSent {
		t.Errorf("got %+v, want what the latest stream has", got)
	}
	tracker.Publish(published("2", 1))
	accept(tracker, 1, "2")
	tracker.StreamClosed(2)
	tracker.StreamClosed(3)
	if p := tracker.Proxies("edge"); len(p) != 1 || !p[0].Connected || p[0].Types[0].State != Synced {
		t.Errorf("got %+v, want the one that is left, with the newest accepted", p)
	}
	tracker.Publish(published("3", 1))
	accept(tracker, 1, "3")
	if _, err := tracker.Wait(t.Context(), "edge", 1); err != nil {
		t.Errorf("Wait: %v", err)
	}
	tracker.StreamClosed(1)
	if p := tracker.Proxies("edge"); len(p) != 1 || p[0].Connected {
		t.Errorf("got %+v, want one that went", p)
	}
	if n := strings.Count(log.String(), "same node id"); n != 1 {
		t.Errorf("got %d lines of it, want 1:\n%s", n, &log)
	}
}

func TestClip(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("é", maxText), strings.Repeat("x", maxText+1), strings.Repeat("\xff", maxText)} {
		if got := clip(text, maxText); len(got) > maxText || !utf8.ValidString(got) {
			t.Errorf("got %d bytes, valid %v, want at most %d", len(got), utf8.ValidString(got), maxText)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := New(Options{})
		tracker.Publish(published("1", 1))
		done := make(chan error, 1)
		wait := func(atLeast int) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := tracker.Wait(ctx, "edge", atLeast)
				done <- err
			}()
			synctest.Wait()
		}
		waiting := func(what string) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-done:
				t.Fatalf("%s: got %v, want it to wait", what, err)
			default:
			}
		}
		wait(2)
		connect(tracker, 1, "a")
		accept(tracker, 1, "1")
		waiting("one of two")
		connect(tracker, 2, "b")
		waiting("the second has nothing")
		accept(tracker, 2, "1")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		tracker.Publish(published("2", 1))
		wait(1)
		accept(tracker, 1, "2")
		waiting("the second is connected and behind")
		tracker.StreamClosed(2)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		// It asked for no endpoints yet, though there are some.
		connect(tracker, 3, "c")
		wait(1)
		for _, url := range []string{resource.ClusterType, resource.ListenerType} {
			tracker.Sent(3, url, "2")
			tracker.Acked(3, url, "2")
		}
		waiting("no endpoints")
		tracker.Nacked(3, resource.EndpointType, "2", "what is this")
		err := <-done // the minute is over
		var lagging *WaitError
		if !errors.As(err, &lagging) || !errors.Is(err, context.DeadlineExceeded) || len(lagging.Lagging) != 1 || !strings.Contains(err.Error(), "what is this") || strings.Contains(err.Error(), "SDS") {
			t.Errorf("got %v, want who lags, and why, and not what there is none of", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tracker.Wait(ctx, "egde", 1); err == nil || !strings.Contains(err.Error(), `no Gateway is of fleet "egde"; got 0 proxies`) {
			t.Errorf("got %v, want that there is no such fleet", err)
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := New(Options{KeepMost: 100})
		for i := range 1000 {
			id := server.StreamID(i)
			connect(tracker, id, fmt.Sprint(i))
			time.Sleep(time.Millisecond)
			if i > 0 {
				tracker.StreamClosed(id)
			}
		}
		if n := len(tracker.Proxies("")); n > 101 || n < 80 {
			t.Errorf("got %d proxies, want at most 100 that went, and the one that is there", n)
		}
		time.Sleep(16 * time.Minute)
		if p := tracker.Proxies(""); len(p) != 1 || p[0].ID != "0" {
			t.Errorf("got %d proxies after a while, want the one that is there", len(p))
		}
		if len(tracker.streams) != 1 || tracker.gone != 0 {
			t.Errorf("got %d streams and %d gone, want 1 and 0", len(tracker.streams), tracker.gone)
		}
	})
}
