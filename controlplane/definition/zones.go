package definition

import (
	"fmt"
	"maps"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// checkPriorities wants every priority before an endpoint's own to have endpoints, as Envoy does.
func checkPriorities(s *sluicev1.Service, report reporter) {
	there := map[uint32]bool{}
	for _, e := range s.GetEndpoints() {
		there[e.GetPriority()] = true
	}
	for i, e := range s.GetEndpoints() {
		for p := range e.GetPriority() {
			if !there[p] {
				report(itemPath("endpoints", i)+".priority", CodeInvalidValue,
					fmt.Sprintf("got %d, and no endpoint has priority %d, want none left out", e.GetPriority(), p))
				break
			}
		}
	}
}

// SlowStartOf is the slow start of whichever policy is written; nil if it has none.
func SlowStartOf(l *sluicev1.LoadBalancer) *sluicev1.SlowStart {
	if p := l.GetRoundRobin(); p != nil {
		return p.GetSlowStart()
	}
	return l.GetLeastRequest().GetSlowStart()
}

// checkSlowStart wants a window that is open.
func checkSlowStart(l *sluicev1.LoadBalancer, report reporter) {
	slow := SlowStartOf(l)
	at := "loadBalancer.roundRobin.slowStart.window"
	if l.GetLeastRequest() != nil {
		at = "loadBalancer.leastRequest.slowStart.window"
	}
	checkDuration(slow.GetWindow(), at, report)
	if d, err := ParseDuration(slow.GetWindow()); err == nil && d == 0 && slow.GetWindow() != "" {
		report(at, CodeDuration, fmt.Sprintf("got %q, want more than 0", slow.GetWindow()))
	}
}

// checkZones wants zones and their weights to name each other, and somebody in each priority to get something.
func checkZones(s *sluicev1.Service, report reporter) {
	const at = "loadBalancer.zoneWeights"
	weights := s.GetLoadBalancer().GetZoneWeights()
	sums := map[uint32]uint64{}
	inhabited := map[string]bool{}
	for i, e := range s.GetEndpoints() {
		zone, here := e.GetZone(), itemPath("endpoints", i)
		weight, named := weights[zone]
		switch {
		case len(weights) == 0 && zone != "":
			report(here+".zone", CodeExclusive, "got a zone without loadBalancer.zoneWeights, want both or neither: zones mean nothing without their weights")
		case len(weights) == 0:
		case zone == "":
			report(here, CodeRequired, "got no zone, want one: loadBalancer.zoneWeights shares the requests among zones")
		case !named:
			report(here+".zone", CodeInvalidValue, fmt.Sprintf("got %s, want one that loadBalancer.zoneWeights names: it would get nothing", zone))
		}
		inhabited[zone] = true
		sums[e.GetPriority()] += uint64(weight)
	}
	if len(weights) == 0 {
		return
	}
	for _, zone := range slices.Sorted(maps.Keys(weights)) {
		if zone == "" || !inhabited[zone] {
			report(keyPath(at, zone), CodeInvalidValue, fmt.Sprintf("got a weight for %q, where no endpoint is, want zones of endpoints", zone))
		}
	}
	for _, priority := range slices.Sorted(maps.Keys(sums)) {
		if sums[priority] == 0 {
			report(at, CodeZeroWeights, fmt.Sprintf("got weights that sum to 0 in priority %d, want at least one zone with a weight above 0", priority))
		}
	}
}
