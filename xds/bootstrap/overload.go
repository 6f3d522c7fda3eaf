package bootstrap

import (
	"math"
	"time"

	overloadpb "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionspb "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heappb "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
)

// Overload is what the overload manager says.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager
type Overload struct {
	// MaxConnections bounds the connections of clients in all; 0 is no bound.
	MaxConnections int64
	// MaxHeap bounds memory, in bytes; 0 is no bound.
	MaxHeap int64
	// Refresh is how often memory is looked at.
	Refresh time.Duration
	// StopRequests, StopConnections and RejectConnections are shares of MaxHeap, above 0 and at most 1, from which on requests
	// are answered 503, connections wait in the kernel's queue, and are closed as they come; 0 is never.
	StopRequests, StopConnections, RejectConnections float64
}

// Envoy's, where the file says nothing; and what is too often to be meant.
const (
	defaultRefresh = time.Second
	leastRefresh   = 10 * time.Millisecond
)

const heapMonitor = "envoy.resource_monitors.fixed_heap"

// overload reads the monitors, and the actions that one of them sets off.
func (r *reader) overload(field string, m *overloadpb.OverloadManager) Overload {
	o := Overload{Refresh: defaultRefresh}
	if m == nil {
		return o
	}
	o.Refresh = r.duration(field+".refresh_interval", m.RefreshInterval, m.RefreshInterval != nil, defaultRefresh)
	if o.Refresh < leastRefresh {
		r.refuse(field+".refresh_interval", "got %v, want at least %v", o.Refresh, leastRefresh)
	}
	heap := ""
	seen := map[string]bool{}
	for i, monitor := range m.ResourceMonitors {
		field := at(field+".resource_monitors", i)
		if seen[monitor.Name] {
			r.refuse(field+".name", "got %q twice, want each once", monitor.Name)
		}
		seen[monitor.Name] = true
		config, err := monitor.GetTypedConfig().UnmarshalNew()
		if err != nil {
			r.refuse(field+".typed_config", "%v", err)
			continue
		}
		switch config := config.(type) {
		case *connectionspb.DownstreamConnectionsConfig:
			r.once(field, &o.MaxConnections, config.MaxActiveDownstreamConnections, "max_active_downstream_connections")
		case *heappb.FixedHeapConfig:
			heap = monitor.Name
			r.once(field, &o.MaxHeap, int64(min(config.MaxHeapSizeBytes, math.MaxInt64)), "max_heap_size_bytes")
		default:
			r.refuse(field+".typed_config", "got a %s: %s", config.ProtoReflect().Descriptor().FullName(), notSupported)
		}
	}
	actions := map[string]*float64{
		"envoy.overload_actions.stop_accepting_requests":     &o.StopRequests,
		"envoy.overload_actions.stop_accepting_connections":  &o.StopConnections,
		"envoy.overload_actions.reject_incoming_connections": &o.RejectConnections,
		// Go's runtime gives memory back by itself, the more the nearer it is to its limit.
		"envoy.overload_actions.shrink_heap": new(float64),
	}
	for i, action := range m.Actions {
		field := at(field+".actions", i)
		share := actions[action.Name]
		switch {
		case share == nil:
			r.refuse(field+".name", "got %q: %s", action.Name, notSupported)
			continue
		case *share != 0:
			r.refuse(field+".name", "got %q twice, want it once", action.Name)
			continue
		case len(action.Triggers) != 1:
			r.refuse(field+".triggers", "got %d, want 1: %s", len(action.Triggers), notSupported)
			continue
		}
		trigger := action.Triggers[0]
		field = at(field+".triggers", 0)
		if trigger.Name != heap || heap == "" {
			r.refuse(field+".name", "got %q, want a monitor of memory among resource_monitors, such as %q", trigger.Name, heapMonitor)
		}
		*share = trigger.GetThreshold().GetValue()
		if !(*share > 0 && *share <= 1) {
			r.refuse(field+".threshold.value", "got %v, want more than 0 and at most 1", *share)
		}
	}
	return o
}

// once takes a monitor's number.
func (r *reader) once(field string, to *int64, n int64, name string) {
	if *to != 0 {
		r.refuse(field, "got a second bound of this kind, want one")
	}
	if n <= 0 {
		r.refuse(field+".typed_config."+name, "got %d, want 1 or more", n)
	}
	*to = n
}
