package assemble_test

import (
	"fmt"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/client"
)

type nobody struct{}

func (nobody) Subscribe(string, []string) {}
func (nobody) SubscribeAll(string)        {}

// BenchmarkEndpointChange is one change in a fleet of 10,000 clusters, from the response to Apply.
func BenchmarkEndpointChange(b *testing.B) {
	t := &testing.T{}
	a, err := assemble.New(assemble.Options{
		Subscriber: nobody{}, DynamicListeners: true, DynamicClusters: true,
		Bind: func(*config.Listener) error { return nil }, Apply: func(*config.Config) error { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := a.Start(); err != nil {
		b.Fatal(err)
	}
	clusters, assignments := client.Update{TypeURL: cds}, client.Update{TypeURL: eds}
	var names []string
	for i := range 10_000 {
		name := fmt.Sprintf("c%d", i)
		names = append(names, name)
		clusters.Resources = append(clusters.Resources, client.Resource{Name: name, Body: unpack(t, cds, cluster(name, "1s", ""))})
		assignments.Resources = append(assignments.Resources, client.Resource{Name: name, Body: unpack(t, eds, endpoints(name, 1))})
	}
	a.Update(clusters)
	a.Update(assignments)
	a.Update(client.Update{TypeURL: lds, Resources: []client.Resource{{Name: "web", Body: unpack(t, lds, listener("web", 80, "t"))}}})
	a.Update(client.Update{TypeURL: rds, Resources: []client.Resource{{Name: "t", Body: unpack(t, rds, table("t", names...))}}})
	select {
	case <-a.Ready():
	default:
		b.Fatal("not ready")
	}
	n := 0
	for b.Loop() {
		n++
		a.Update(client.Update{TypeURL: eds, Resources: []client.Resource{{Name: "c7", Body: unpack(t, eds, endpoints("c7", 1+n%2))}}})
	}
}
