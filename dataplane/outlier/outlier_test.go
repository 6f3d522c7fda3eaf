package outlier

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func version(o *config.Outliers, old *cluster.Cluster, n int) *cluster.Cluster {
	var list []config.Endpoint
	for i := range n {
		list = append(list, config.Endpoint{Address: config.At(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i+1))), Weight: 1})
	}
	return cluster.New(&config.Cluster{Name: "c", Outliers: o}, list, old)
}

func settings() *config.Outliers {
	return &config.Outliers{
		Consecutive5xx: 3, Enforcing5xx: 100, ConsecutiveGateway: 2, EnforcingGateway: 100,
		Interval: time.Second, BaseTime: 10 * time.Second, MaxTime: 25 * time.Second, MaxPercent: 100,
	}
}

func fail(v *cluster.Cluster, i, status, times int) {
	for range times {
		v.Note(v.Endpoints[i], status)
	}
	synctest.Wait()
}

// out is who is out: "x" for each that is, "." for others.
func out(v *cluster.Cluster) string {
	var b strings.Builder
	for _, e := range v.Endpoints {
		if e.Illness()&cluster.Ejected != 0 {
			b.WriteByte('x')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func want(t *testing.T, v *cluster.Cluster, who string) {
	t.Helper()
	synctest.Wait()
	if got := out(v); got != who {
		t.Errorf("got %s, want %s", got, who)
	}
}

func watch(t *testing.T, o *config.Outliers, n int, f func(v *cluster.Cluster, d *Detector, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		v := version(o, nil, n)
		var log bytes.Buffer
		d := Watch(v, slog.New(slog.NewTextHandler(&log, nil)))
		// Between the sweeps, which are at whole seconds.
		time.Sleep(time.Second / 2)
		f(v, d, &log)
		d.Close()
		if strings.Contains(out(v.Newest()), "x") {
			t.Error("someone is out after Close")
		}
	})
}

// Each time is longer by the base, and MaxTime at most; and shorter again for each sweep that it was not out.
func TestTimes(t *testing.T) {
	watch(t, settings(), 2, func(v *cluster.Cluster, _ *Detector, log *bytes.Buffer) {
		for _, seconds := range []time.Duration{10, 20, 25, 25} {
			fail(v, 0, 500, 3)
			want(t, v, "x.")
			if e := v.Pick(); e != v.Endpoints[1] {
				t.Errorf("got %v, want the other", e)
			}
			time.Sleep((seconds - 1) * time.Second)
			want(t, v, "x.")
			time.Sleep(time.Second + time.Second/2 + time.Millisecond)
			want(t, v, "..")
			time.Sleep(time.Second/2 - time.Millisecond)
		}
		if got := strings.Count(log.String(), "\n"); got != 8 || !strings.Contains(log.String(), "for=20s") {
			t.Errorf("got %d lines, want one for each of 8 changes:\n%s", got, log)
		}
		time.Sleep(10 * time.Second)
		fail(v, 0, 500, 3)
		time.Sleep(9 * time.Second)
		want(t, v, "x.")
		time.Sleep(2 * time.Second)
		want(t, v, "..")
	})
}

// One sweep that finds it in takes one off, and not all.
func TestTimesShrink(t *testing.T) {
	watch(t, settings(), 2, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
		for _, step := range []struct{ out, in time.Duration }{{10, 0}, {20, 1}, {20, 2}, {10, 0}} {
			fail(v, 0, 500, 3)
			time.Sleep((step.out - 1) * time.Second)
			want(t, v, "x.")
			time.Sleep(2 * time.Second)
			want(t, v, "..")
			time.Sleep(step.in * time.Second)
		}
	})
}

func TestCounts(t *testing.T) {
	watch(t, settings(), 3, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
		fail(v, 0, 500, 2)
		fail(v, 0, 200, 1)
		fail(v, 0, 500, 2)
		fail(v, 1, 503, 1)
		want(t, v, "...")
		fail(v, 1, 504, 1)
		want(t, v, ".x.")
		// Requests that it had by then go on to fail: it is out once.
		fail(v, 1, 503, 7)
		fail(v, 0, 502, 1)
		want(t, v, "xx.")
		if n := v.Stats.Ejections.Load(); n != 2 {
			t.Errorf("got %d ejections, want 2", n)
		}
		// What was counted while it was out is forgotten when it is back.
		time.Sleep(11 * time.Second)
		want(t, v, "...")
		fail(v, 1, 500, 2)
		want(t, v, "...")
	})
}

func TestPercent(t *testing.T) {
	for _, test := range []struct {
		percent   uint32
		one       bool
		endpoints int
		want      string
	}{
		{10, false, 9, "........."},
		{10, false, 10, "x........."},
		{50, false, 1, "."},
		{50, false, 2, "x."},
		{50, false, 3, "x.."},
		{66, false, 3, "x.."},
		{67, false, 3, "xx."},
		{0, false, 3, "..."},
		{0, true, 3, "x.."},
		{10, true, 1, "x"},
		{100, false, 3, "xxx"},
	} {
		o := settings()
		o.MaxPercent, o.AlwaysOne = test.percent, test.one
		watch(t, o, test.endpoints, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
			for i := range v.Endpoints {
				fail(v, i, 500, 3)
			}
			want(t, v, test.want)
			if left := int64(strings.Count(test.want, ".")); v.Stats.EjectionOverflows.Load() != left {
				t.Errorf("%d%%: got %d that were left, want %d", test.percent, v.Stats.EjectionOverflows.Load(), left)
			}
		})
	}
}

func TestNotEnforced(t *testing.T) {
	o := settings()
	o.Enforcing5xx, o.EnforcingGateway = 0, 0
	watch(t, o, 1, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
		fail(v, 0, 503, 100)
		want(t, v, ".")
	})
}

func TestJitter(t *testing.T) {
	o := settings()
	o.Jitter = 5 * time.Second
	d := &Detector{config: o}
	if got := d.sentence(&account{times: 1, extra: 5 * time.Second}); got != 15*time.Second {
		t.Errorf("got %v", got)
	}
	watch(t, o, 1, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
		fail(v, 0, 500, 3)
		time.Sleep(9 * time.Second)
		want(t, v, "x")
		time.Sleep(7 * time.Second)
		want(t, v, ".")
	})
}

// A health check that goes well ends it, if it may.
func TestCheckedWell(t *testing.T) {
	for _, ends := range []bool{false, true} {
		o := settings()
		o.CheckEnds = ends
		watch(t, o, 1, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
			fail(v, 0, 500, 3)
			v.Suspect(v.Endpoints[0], cluster.CheckedWell)
			want(t, v, map[bool]string{false: "x", true: "."}[ends])
		})
	}
}

// A new version has the same endpoints out; one that is gone is of no account.
func TestVersions(t *testing.T) {
	o := settings()
	o.MaxPercent = 50
	watch(t, o, 2, func(v *cluster.Cluster, _ *Detector, _ *bytes.Buffer) {
		fail(v, 1, 500, 3)
		next := version(o, v, 4)
		want(t, next, ".x..")
		for range 9 {
			if e := next.Pick(); e.Load == next.Endpoints[1].Load {
				t.Fatal("got one that is out")
			}
		}
		fail(next, 0, 500, 3)
		want(t, next, "xx..")
		fail(next, 2, 500, 3)
		want(t, next, "xx..")
		last := version(o, next, 1)
		time.Sleep(11 * time.Second)
		want(t, last, ".")
	})
}
