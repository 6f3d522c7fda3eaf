package fleet

import (
	"fmt"
	"regexp"
	"strconv"
)

// Case is one situation: so many proxies at so many services.
type Case struct {
	// Name is kind-PROXIESxSERVICES.
	Name string
	Kind *kind
	// Proxies and Services are how many there are.
	Proxies, Services int
}

// kind is what is done in a case.
type kind struct {
	name, title string
	// delta: incremental xDS; else state of the world.
	delta bool
	// edits are made after all proxies are in sync, each of them times times.
	edits []string
	times int
	// growth: edits go on for a while, and memory is looked at.
	growth bool
	// alone: the peers have nothing to compare.
	alone bool
}

var kinds = []kind{
	{name: "delta", title: "delta", delta: true, edits: []string{oneEndpoint, oneRoute, newService}, times: 1},
	{name: "sotw", title: "state of the world", edits: []string{oneEndpoint}, times: 1},
	{name: "storm", title: "delta", delta: true},
	{name: "save", title: "delta", delta: true, edits: []string{oneEndpoint, oneRoute, newService}, times: 5, alone: true},
	{name: "edits", title: "delta", delta: true, growth: true, alone: true},
}

// All are the cases of the table, in its order: those that the issue names.
var All = []string{"delta-500x1000", "delta-500x5000", "sotw-500x5000", "storm-1000x1000", "save-100x5000", "edits-10x1000"}

var casePattern = regexp.MustCompile(`^([a-z]+)-([0-9]{1,5})x([0-9]{1,6})$`)

// ParseCase reads a case's name: any size will do.
func ParseCase(name string) (*Case, error) {
	m := casePattern.FindStringSubmatch(name)
	if m == nil {
		return nil, fmt.Errorf("fleet: got the case %q, want one like %s", name, All[0])
	}
	c := &Case{Name: name}
	for i := range kinds {
		if kinds[i].name == m[1] {
			c.Kind = &kinds[i]
		}
	}
	c.Proxies, _ = strconv.Atoi(m[2]) // digits
	c.Services, _ = strconv.Atoi(m[3])
	if c.Kind == nil || c.Proxies == 0 || c.Services == 0 {
		return nil, fmt.Errorf("fleet: got the case %q, want delta, sotw, storm, save or edits, and sizes above 0", name)
	}
	return c, nil
}
