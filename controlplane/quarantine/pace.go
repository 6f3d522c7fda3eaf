package quarantine

import "time"

// However proxies behave, what is held back changes seldom: a publication is work for each proxy of the fleet.

const (
	// gap is the least time between two publications that the quarantine asks for: 20 a second.
	gap = 50 * time.Millisecond
	// burst is how many a fleet may cause at once, and refill is how long it takes until it may cause one more.
	burst, refill = 100, time.Second
)

// spend takes publications out of a fleet's budget, or returns when there will be as many.
func (f *fleet) spend(n int, now time.Time) (at time.Time) {
	if f.counted.IsZero() {
		f.budget, f.counted = burst, now
	}
	if more := int(now.Sub(f.counted) / refill); more > 0 {
		f.budget, f.counted = min(f.budget+more, burst), f.counted.Add(time.Duration(more)*refill)
	}
	if f.budget < n {
		return f.counted.Add(time.Duration(n-f.budget) * refill)
	}
	f.budget -= n
	return now
}

// push says that the holds are others, as soon as the gap is over.
func (r *Room) push() {
	r.pushes++
	r.seq++
	r.owed = true
	r.call(time.Now())
}

// call tells who builds, if it is time; else it returns when it will be.
func (r *Room) call(now time.Time) (wake time.Time) {
	switch {
	case !r.owed:
		return now.Add(time.Hour)
	case now.Before(r.due):
		return r.due
	}
	r.owed, r.due = false, now.Add(gap)
	signal(r.changed)
	return now.Add(time.Hour)
}
