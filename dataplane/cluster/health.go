package cluster

import "time"

// Illness is why an endpoint gets no requests, unless its priority is in panic. An endpoint may have several; without any it is healthy.
type Illness uint32

// The illnesses, one bit each.
const (
	// FailedCheck: active health checks failed.
	FailedCheck Illness = 1 << iota
	// Ejected: outlier detection took it out.
	Ejected
	// Told: the configuration says that it is unhealthy.
	Told
	// Draining: the configuration takes it out of use. Unlike the others, this is no failure of its priority.
	Draining
)

// Healthy tells whether an endpoint may be chosen.
func (l *Load) Healthy() bool { return l.illness.Load() == 0 }

// Illness is what the endpoint has.
func (l *Load) Illness() Illness { return Illness(l.illness.Load()) }

// Fall notes an illness, and Recover its end. Both tell whether that is news: then Cluster.Refresh is to be called, of
// every version that is in use.
func (l *Load) Fall(why Illness) bool { return l.illness.Or(uint32(why))&uint32(why) == 0 }

// Recover is the end of an illness.
func (l *Load) Recover(why Illness) bool {
	if l.illness.Load()&uint32(why) == 0 {
		return false
	}
	if why == FailedCheck {
		// As with Envoy, slow start begins anew after a failed check, and after nothing else.
		l.since.Store(int64(time.Since(epoch)))
	}
	return l.illness.And(^uint32(why))&uint32(why) != 0
}

// set is Fall or Recover.
func (l *Load) set(why Illness, ill bool) {
	if ill {
		l.Fall(why)
	} else {
		l.Recover(why)
	}
}
