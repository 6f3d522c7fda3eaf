package fleet

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluice-proxy/sluice/e2e/bench/fleet/crowd"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// table is the route table of the world's one listener.
const table = "default/http"

// world is a folder of definitions: a Gateway, and a file for each service with its Service and its host's Route.
type world struct {
	dir      string
	services int
	edits    int
	added    int
	// The state of the service that is edited.
	endpoint, prefix string
}

// newWorld writes the folder.
func newWorld(dir string, services int) (*world, error) {
	w := &world{dir: dir, services: services, endpoint: "10.0.0.1", prefix: "/first"}
	gateway := "kind: Gateway\nname: default\nlisteners:\n  - {name: http, address: 127.0.0.1, port: 8080, protocol: HTTP}\n"
	if err := os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte(gateway), 0o600); err != nil {
		return nil, err
	}
	for i := range services {
		name := serviceName(i)
		text := document(name, "10.0.0.1", "/first")
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func serviceName(i int) string { return fmt.Sprintf("service-%05d", i) }

// document is one service's file. Its Route has two rules; prefix is of the first.
func document(name, endpoint, prefix string) string {
	return fmt.Sprintf(`kind: Service
name: %[1]s
endpoints: ["%[2]s:8080", "10.0.0.2:8080"]
---
kind: Route
name: %[1]s
hosts: [%[1]s.bench.test]
rules:
  - name: some
    match: {path: {prefix: %[3]s}}
    backends: [{service: %[1]s}]
  - name: all
    backends: [{service: %[1]s}]
`, name, endpoint, prefix)
}

// edit is a change of one file, and what every proxy should get of it.
type edit struct {
	path, temporary string
	goal            *crowd.Goal
}

// kinds of edits, as they are called in the names of cases.
const (
	oneEndpoint = "endpoint"
	oneRoute    = "route"
	newService  = "service"
)

// edit makes the next of a kind, and writes it to a file beside the folder; save puts it there.
func (w *world) edit(kind string) (*edit, error) {
	w.edits++
	name := serviceName(w.services / 2)
	goal := &crowd.Goal{}
	switch kind {
	case oneEndpoint:
		w.endpoint = address(w.edits)
		goal.Want = []crowd.Want{{Type: resource.EndpointType, Name: name, Marker: []byte(w.endpoint)}}
	case oneRoute:
		w.prefix = fmt.Sprintf("/edit-%06d", w.edits)
		goal.Want = []crowd.Want{{Type: resource.RouteType, Marker: []byte(w.prefix)}}
	case newService:
		w.added++
		name = fmt.Sprintf("added-%05d", w.added)
		goal.Ordered = true
		goal.Want = []crowd.Want{
			{Type: resource.ClusterType, Name: name},
			{Type: resource.EndpointType, Name: name},
			{Type: resource.RouteType, Marker: []byte(name)},
		}
	default:
		return nil, fmt.Errorf("fleet: got the edit %q, want %s, %s or %s", kind, oneEndpoint, oneRoute, newService)
	}
	e := w.editOf(name)
	e.goal = goal
	text := document(name, w.endpoint, w.prefix)
	if kind == newService {
		text = document(name, "10.0.0.1", "/first")
	}
	return e, os.WriteFile(e.temporary, []byte(text), 0o600)
}

// everyEndpoint saves every service with a new endpoint, one file after the other, and is the goal of who has the last,
// which is expected before that is saved.
func (w *world) everyEndpoint(expect func(*crowd.Goal)) (*crowd.Goal, error) {
	var goal *crowd.Goal
	for i := range w.services {
		w.edits++
		name, endpoint, prefix := serviceName(i), address(w.edits), "/first"
		if i == w.services/2 { // which others edit
			w.endpoint, prefix = endpoint, w.prefix
		}
		e := w.editOf(name)
		if err := os.WriteFile(e.temporary, []byte(document(name, endpoint, prefix)), 0o600); err != nil {
			return nil, err
		}
		if i == w.services-1 {
			goal = &crowd.Goal{Want: []crowd.Want{{Type: resource.EndpointType, Name: name, Marker: []byte(endpoint)}}}
			expect(goal)
		}
		if err := e.save(); err != nil {
			return nil, err
		}
	}
	return goal, nil
}

// address is another one for each number below 9 million.
func address(n int) string { return fmt.Sprintf("10.%d.%d.%d", 100+n>>16, n>>8&255, n&255) }

func (w *world) editOf(name string) *edit {
	return &edit{path: filepath.Join(w.dir, name+".yaml"), temporary: w.dir + ".edit"}
}

// save is what an editor does.
func (e *edit) save() error { return os.Rename(e.temporary, e.path) }

// synced is the goal of who has all of it.
func (w *world) synced() *crowd.Goal {
	n := w.services + w.added
	return &crowd.Goal{Clusters: n, Endpoints: n, Hosts: n}
}
