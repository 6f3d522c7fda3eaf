package cluster

// Suspicion is what was seen of an endpoint that may be taken out for it. It is a set.
type Suspicion uint32

// The suspicions, one bit each.
const (
	// Failing5xx and FailingGateway: so many answers in a row as Outliers says.
	Failing5xx Suspicion = 1 << iota
	FailingGateway
	// CheckedWell is the contrary: a health check went well.
	CheckedWell
)

// Note notes an endpoint's answer, by its status: for one that did not come, that which stands for it. It costs a load
// where nothing has failed, and never waits: who was suspected is looked at by whoever waits for Suspected.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
func (c *Cluster) Note(e *Endpoint, status int) {
	o := c.Config.Outliers
	if o == nil {
		return
	}
	if status < 500 {
		e.resetFailures(^Suspicion(0))
		return
	}
	var seen Suspicion
	if status >= 502 && status <= 504 {
		if e.failuresGateway.Add(1) == o.ConsecutiveGateway {
			seen |= FailingGateway
		}
	} else {
		e.resetFailures(FailingGateway)
	}
	if e.failures5xx.Add(1) == o.Consecutive5xx {
		seen |= Failing5xx
	}
	if seen != 0 {
		c.Suspect(e, seen)
	}
}

func (l *Load) resetFailures(of Suspicion) {
	if of&Failing5xx != 0 && l.failures5xx.Load() != 0 {
		l.failures5xx.Store(0)
	}
	if of&FailingGateway != 0 && l.failuresGateway.Load() != 0 {
		l.failuresGateway.Store(0)
	}
}

// Suspect has an endpoint looked at.
func (c *Cluster) Suspect(e *Endpoint, why Suspicion) {
	e.suspicions.Or(uint32(why))
	select {
	case c.versions.suspected <- struct{}{}:
	default:
	}
}

// Suspected tells that there is somebody to be looked at, in the newest version.
func (c *Cluster) Suspected() <-chan struct{} { return c.versions.suspected }

// Suspicions are what an endpoint is suspected of since it was asked for last. The counts that led to them begin anew when
// Forget is called.
func (l *Load) Suspicions() Suspicion { return Suspicion(l.suspicions.Swap(0)) }

// Forget begins to count failures anew.
func (l *Load) Forget(of Suspicion) { l.resetFailures(of) }
