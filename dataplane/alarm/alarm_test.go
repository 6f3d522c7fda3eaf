package alarm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired atomic.Int64
		a := New(func() (next time.Time) {
			if fired.Add(1) == 5 {
				next = time.Now().Add(time.Second)
			}
			return next
		})
		at := func(d time.Duration) { a.Set(time.Now().Add(d)) }
		expect := func(want int64, due bool) {
			t.Helper()
			synctest.Wait()
			if got := fired.Load(); got != want || a.Due() != due {
				t.Fatalf("fired %d times, due %v; want %d, %v", got, a.Due(), want, due)
			}
		}
		at(time.Second)
		time.Sleep(time.Second)
		expect(1, true)
		time.Sleep(time.Hour)
		expect(1, true)

		// Moved on before it went off.
		at(time.Second)
		time.Sleep(500 * time.Millisecond)
		at(2 * time.Second)
		time.Sleep(time.Second)
		expect(1, false)
		time.Sleep(time.Second)
		expect(2, true)

		// Moved forward.
		at(time.Hour)
		at(time.Second)
		time.Sleep(time.Second)
		expect(3, true)

		// Cleared; the old timer finds nothing, and a new time is kept.
		at(time.Second)
		a.Clear()
		time.Sleep(2 * time.Second)
		expect(3, false)
		at(time.Second)
		a.Stop()
		time.Sleep(2 * time.Second)
		expect(3, false)
		at(time.Second)
		time.Sleep(time.Second)
		expect(4, true)

		// It asks to be called again.
		at(time.Second)
		time.Sleep(1500 * time.Millisecond)
		expect(5, false)
		time.Sleep(time.Second)
		expect(6, true)
	})
}

func TestSetDoesNotAllocate(t *testing.T) {
	a := New(func() (next time.Time) { return })
	at := time.Now().Add(time.Hour)
	a.Set(at)
	if n := testing.AllocsPerRun(100, func() { a.Set(at); a.Clear() }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	a.Stop()
}
