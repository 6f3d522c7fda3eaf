package assemble

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/decode"
)

// adminType starts the type URLs of Envoy's dumps.
const adminType = "type.googleapis.com/envoy.admin.v3."

// ConfigDump renders all resources as received, without their secrets, in the form of Envoy's /config_dump. bootstrap
// is JSON, and may be nil.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
func (a *Assembler) ConfigDump(bootstrap json.RawMessage) ([]byte, error) {
	a.mu.Lock()
	configs, err := a.dump()
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if bootstrap != nil {
		configs = append([]object{{"@type": adminType + "BootstrapConfigDump", "bootstrap": bootstrap}}, configs...)
	}
	return json.MarshalIndent(object{"configs": configs}, "", " ")
}

type object map[string]any

func (a *Assembler) dump() ([]object, error) {
	var problem error
	body := func(raw *anypb.Any) json.RawMessage {
		text, err := decode.Dump("", raw)
		if err != nil {
			problem = err
			return json.RawMessage("null")
		}
		return text
	}
	configs := []object{
		dumpClusters(a.clusters, body),
		dumpListeners(a.listeners, body),
		dumpLeaves(a.dumped(), "RoutesConfigDump", "static_route_configs", "dynamic_route_configs", "route_config", body),
		dumpSecrets(a.secrets, body),
		dumpLeaves(a.assignments, "EndpointsConfigDump", "static_endpoint_configs", "dynamic_endpoint_configs", "endpoint_config", body),
	}
	return configs, problem
}

// state is one version of a resource.
func state[T any](e *entry[T], key string, body func(*anypb.Any) json.RawMessage) object {
	o := object{key: body(e.raw), "last_updated": e.updated.UTC().Format(time.RFC3339Nano)}
	if !e.static {
		o["version_info"] = e.version
	}
	return o
}

// errorState is Envoy's UpdateFailureState.
func errorState(r refusal, body func(*anypb.Any) json.RawMessage) object {
	return object{
		"failed_configuration": body(r.raw),
		"version_info":         r.version,
		"details":              r.err.Error(),
		"last_update_attempt":  r.at.UTC().Format(time.RFC3339Nano),
	}
}

// status is Envoy's ClientResourceStatus.
func status[T any](s *set[T], name string) string {
	if _, refused := s.refused[name]; refused {
		return "NACKED"
	}
	if s.latest[name] == nil {
		return "DOES_NOT_EXIST"
	}
	if s.active[name] != s.latest[name] {
		return "REQUESTED"
	}
	return "ACKED"
}

// names are of all resources that there is something to say about.
func (s *set[T]) names() []string {
	all := map[string]bool{}
	for name := range s.latest {
		all[name] = true
	}
	for name := range s.active {
		all[name] = true
	}
	for name := range s.refused {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func dumpClusters[T any](s *set[T], body func(*anypb.Any) json.RawMessage) object {
	static, active, warming := []object{}, []object{}, []object{}
	for _, name := range s.names() {
		serves, newest := s.active[name], s.latest[name]
		if newest != nil && newest.static {
			static = append(static, state(newest, "cluster", body))
			continue
		}
		refused, isRefused := s.refused[name]
		if serves != nil || newest == nil {
			o := object{}
			if serves != nil {
				o = state(serves, "cluster", body)
			}
			o["client_status"] = status(s, name)
			if isRefused {
				o["error_state"] = errorState(refused, body)
			}
			active = append(active, o)
		}
		if newest != nil && newest != serves {
			o := state(newest, "cluster", body)
			o["client_status"] = status(s, name)
			warming = append(warming, o)
		}
	}
	return object{
		"@type": adminType + "ClustersConfigDump", "version_info": s.version,
		"static_clusters": static, "dynamic_active_clusters": active, "dynamic_warming_clusters": warming,
	}
}

func dumpListeners[T any](s *set[T], body func(*anypb.Any) json.RawMessage) object {
	static, dynamic := []object{}, []object{}
	for _, name := range s.names() {
		serves, newest := s.active[name], s.latest[name]
		if newest != nil && newest.static {
			static = append(static, state(newest, "listener", body))
			continue
		}
		o := object{"name": name, "client_status": status(s, name)}
		if serves != nil {
			o["active_state"] = state(serves, "listener", body)
		}
		if newest != nil && newest != serves {
			o["warming_state"] = state(newest, "listener", body)
		}
		if refused, ok := s.refused[name]; ok {
			o["error_state"] = errorState(refused, body)
		}
		dynamic = append(dynamic, o)
	}
	return object{
		"@type": adminType + "ListenersConfigDump", "version_info": s.version,
		"static_listeners": static, "dynamic_listeners": dynamic,
	}
}

// dumpLeaves is for route tables and endpoints, whose dumps are alike.
func dumpLeaves[T any](s *set[T], typeName, staticKey, dynamicKey, key string, body func(*anypb.Any) json.RawMessage) object {
	static, dynamic := []object{}, []object{}
	for _, name := range s.names() {
		newest := s.latest[name]
		if newest != nil && newest.static {
			static = append(static, state(newest, key, body))
			continue
		}
		o := object{}
		if newest != nil {
			o = state(newest, key, body)
		}
		o["client_status"] = status(s, name)
		if refused, ok := s.refused[name]; ok {
			o["error_state"] = errorState(refused, body)
		}
		dynamic = append(dynamic, o)
	}
	return object{"@type": adminType + typeName, staticKey: static, dynamicKey: dynamic}
}

func dumpSecrets[T any](s *set[T], body func(*anypb.Any) json.RawMessage) object {
	static, active := []object{}, []object{}
	for _, name := range s.names() {
		newest := s.latest[name]
		o := object{"name": name}
		if newest != nil {
			o = state(newest, "secret", body)
			o["name"] = name
			if newest.static {
				static = append(static, o)
				continue
			}
		}
		o["client_status"] = status(s, name)
		if refused, ok := s.refused[name]; ok {
			o["error_state"] = errorState(refused, body)
		}
		active = append(active, o)
	}
	return object{"@type": adminType + "SecretsConfigDump", "static_secrets": static, "dynamic_active_secrets": active}
}
