package bench

import (
	"fmt"

	"github.com/sluice-proxy/sluice/e2e/bench/load"
)

// routeRows ask for the last of many prefixes, and for the last of ten in the same round.
func routeRows() []Row {
	ten := Site{Routes: 10}
	var rows []Row
	for _, n := range []int{1000, 10000, 100000} {
		lacks := map[string]string{"caddy": "not configured with routes here", "reverseproxy": "has no routes"}
		if n > 10000 {
			lacks["envoy"] = "it tries one route after the other: see `routes-10000`"
		}
		path := lastRoute(n)
		rows = append(rows, Row{
			Name: fmt.Sprintf("routes-%d", n), Title: fmt.Sprintf("HTTP/1.1, 64 connections, the last of %d prefixes", n),
			Site: Site{Routes: n}, Versus: &ten, Lacks: lacks,
			Check: func(p *Proxy) error { return p.check(HostMany, path, 128) },
			Load: func(p *Proxy) (Load, error) {
				return load.Open(p.HTTP, 64, nil, load.HTTP1{Request: load.Get(HostMany, lastRoute(p.Site.Routes)), Size: 128})
			},
		})
	}
	rows = append(rows, Row{
		Name: "hosts-10000", Title: "HTTP/1.1, 64 connections, 100,000 prefixes of 10,000 hosts, a thousand of these in turn", Site: Site{Hosts: 10000}, Versus: &Site{Hosts: 1},
		Lacks: map[string]string{"caddy": "not configured with routes here", "reverseproxy": "has no routes"},
		Check: func(p *Proxy) error { return p.check(host(p.Site.Hosts/2), lastRoute(prefixesOfHost), 128) },
		Load: func(p *Proxy) (Load, error) {
			var requests [][]byte
			for i := range 1000 {
				requests = append(requests, load.Get(host(i*p.Site.Hosts/1000), route(i%prefixesOfHost)+"/x"))
			}
			return load.Open(p.HTTP, 64, nil, load.HTTP1{Requests: requests, Size: 128})
		},
	})
	return append(rows, Row{
		Name: "start-10000", Title: "start with 10,000 prefixes", Site: Site{Routes: 10000}, Fresh: true, Rounds: 4,
		Lacks: map[string]string{"caddy": "not configured with routes here", "reverseproxy": "has no routes"},
		Round: func(p *Proxy) (Figures, error) {
			return Figures{"start": float64(p.served.Sub(p.launched).Microseconds()) / 1e3}, nil
		},
	})
}
