package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// storm is what the definitions say at a moment; its edits change it a little.
type storm struct {
	random *rand.Rand
	// weight is the first of two services', in percent.
	weight int
	// endpoints are who is there of u0 to u3 (HTTP) and e0 to e2 (TCP).
	endpoints map[string]bool
	// timeout is the services' connect timeout, in seconds.
	timeout int
	// option is the edited listeners' idle timeout in seconds; limit is how many connections they may have, guest whether
	// there is one more listener; proxied, whether the PROXY protocol's header is taken, without which all of a listener is
	// another for Envoy.
	option, limit  int
	guest, proxied bool
	// order is the rules'.
	order []string
	// renewed counts the certificate's renewals.
	renewed int
}

func newStorm(seed uint64) *storm {
	s := &storm{
		random: rand.New(rand.NewPCG(seed, 0)), weight: 50, timeout: 5, option: 60, limit: 1000, order: []string{"a", "b", "c", "d", "e"},
		endpoints: map[string]bool{},
	}
	for _, name := range []string{"u0", "u1", "u2", "u3", "e0", "e1", "e2"} {
		s.endpoints[name] = true
	}
	return s
}

const (
	stormGateway = `kind: Gateway
name: KIND
fleet: KIND
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "KIND-http"}}, protocol: HTTP, accessLog: {disabled: true}}
  - {name: https, address: 127.0.0.1, port: {{port "KIND-https"}}, protocol: HTTPS, certificates: [shop], accessLog: {disabled: true}}
  - {name: tcp, address: 127.0.0.1, port: {{port "KIND-tcp"}}, protocol: TCP, backends: [{service: bytes}], accessLog: {disabled: true}}
  - {name: edited, address: 127.0.0.1, port: {{port "KIND-edited"}}, protocol: HTTP, OPTIONS, accessLog: {disabled: true}}
  - {name: edited-tls, address: 127.0.0.1, port: {{port "KIND-edited-tls"}}, protocol: HTTPS, certificates: [shop], OPTIONS, accessLog: {disabled: true}}
`
	stormGuest = `  - {name: guest, address: 127.0.0.1, port: {{port "KIND-guest"}}, protocol: HTTP, accessLog: {disabled: true}}
`
)

// files are the definitions.
func (s *storm) files() map[string]string {
	var gateways, route, services strings.Builder
	for _, kind := range harness.Kinds {
		text := stormGateway
		if s.guest {
			text += stormGuest
		}
		options := fmt.Sprintf("idleTimeout: %ds, limits: {connections: %d}", s.option, s.limit)
		if s.proxied {
			options += ", proxyProtocol: {optional: true}"
		}
		fmt.Fprintf(&gateways, "%s---\n", strings.NewReplacer("KIND", kind, "OPTIONS", options).Replace(text))
	}
	fmt.Fprintf(&route, "kind: Route\nname: shop\ngateways: [%s]\nhosts: [shop.example.com]\nrules:\n", strings.Join(harness.Kinds, ", "))
	for _, name := range s.order {
		fmt.Fprintf(&route, "  - {match: {path: {prefix: /%s}}, backends: [{service: one, weight: %d}, {service: two, weight: %d}]}\n",
			name, s.weight, 100-s.weight)
	}
	service := func(name, kind string, endpoints ...string) {
		var present []string
		for _, e := range endpoints {
			if s.endpoints[e] {
				present = append(present, fmt.Sprintf("\"{{%s %q}}\"", kind, e))
			}
		}
		fmt.Fprintf(&services, "---\n{kind: Service, name: %s, connectTimeout: %ds, endpoints: [%s]}\n", name, s.timeout, strings.Join(present, ", "))
	}
	service("one", "upstream", "u0", "u1")
	service("two", "upstream", "u2", "u3")
	service("bytes", "echo", "e0", "e1", "e2")
	return map[string]string{
		"gateways.yaml": gateways.String(), "route.yaml": route.String(), "services.yaml": services.String(),
		"certificate.yaml": "{kind: Certificate, name: shop, files: {certificate: shop.crt, privateKey: shop.key}}\n",
	}
}

// stormEdits are the kinds of edits; pushes is the type of resource that each changes.
var stormEdits = []struct {
	name   string
	pushes string
	edit   func(*storm)
}{
	{"weight", "VHDS", func(s *storm) { s.weight = (s.weight + 1 + s.random.IntN(99)) % 101 }},
	{"endpoint", "EDS", func(s *storm) {
		for {
			of := [][]string{{"u0", "u1"}, {"u2", "u3"}, {"e0", "e1", "e2"}}[s.random.IntN(3)]
			e := of[s.random.IntN(len(of))]
			s.endpoints[e] = !s.endpoints[e]
			for _, other := range of {
				if s.endpoints[other] {
					return
				}
			}
			s.endpoints[e] = true // somebody must be there
		}
	}},
	{"service", "CDS", func(s *storm) { s.timeout++ }},
	{"listener", "LDS", func(s *storm) { s.guest = !s.guest }},
	{"option", "LDS", func(s *storm) {
		switch s.random.IntN(3) {
		case 0:
			s.option++
		case 1:
			s.limit++
		case 2:
			s.proxied = !s.proxied
		}
	}},
	{"certificate", "SDS", func(s *storm) { s.renewed++ }},
	{"order", "VHDS", func(s *storm) {
		was := strings.Join(s.order, "")
		for strings.Join(s.order, "") == was {
			s.random.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
		}
	}},
}

// TestEditStorm: a hundred edits of all kinds, in an order drawn by lot, under the load of 200 connections for each proxy.
// Not a request fails, and no connection of a listener that nobody edited is closed, or asked to end. An edit of anything
// but a Service pushes no cluster: so a rule that moves renames none.
func TestEditStorm(t *testing.T) {
	edits := 100
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SLUICE_STORM_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("SLUICE_STORM_SEED=%d", seed)
	s := newStorm(seed)
	stage := harness.NewStage(t, nil)
	written := map[string]string{}
	presented, newest := -1, (*pem.Block)(nil)
	write := func() {
		if s.renewed != presented {
			presented = s.renewed
			certificate, key := harness.SelfSigned(t, "shop.example.com")
			newest, _ = pem.Decode([]byte(certificate))
			stage.Put(t, "shop.key", key)
			stage.Put(t, "shop.crt", certificate)
		}
		for name, text := range s.files() {
			if written[name] != text {
				stage.Write(t, []txtar.File{{Name: name, Data: []byte(text)}})
				written[name] = text
			}
		}
	}
	write()
	for _, u := range stage.Upstreams {
		u.CountOnly()
	}
	cp := harness.StartControlPlane(t, stage.Dir)
	proxies := map[string]*harness.Proxy{}
	for _, kind := range harness.Kinds {
		bootstrap, admin := harness.NewBootstrap(t, cp.Addr, kind, kind+"-1")
		proxies[kind] = harness.StartProxyFrom(t, kind, bootstrap, admin, drainWords[kind]...)
		proxies[kind].WaitReady()
	}
	synced := func() {
		var wg sync.WaitGroup
		for _, kind := range harness.Kinds {
			wg.Go(func() { cp.WaitSynced(kind, 1) })
		}
		wg.Wait()
	}
	synced()

	crowds := map[string]*harness.Crowd{}
	for _, kind := range harness.Kinds {
		crowds[kind] = stormCrowd(t, stage, kind)
	}
	done := map[string]int{}
	for range edits {
		step := stormEdits[s.random.IntN(len(stormEdits))]
		done[step.name]++
		before, builds := updates(t, proxies), cp.Builds()
		step.edit(s)
		write()
		harness.Eventually(t, cp.Process, step.name+" is built", func() error {
			if cp.Builds() == builds {
				return errNotYet
			}
			return nil
		})
		synced()
		for kind, now := range updates(t, proxies) {
			for short, n := range now {
				// The others may follow these, and late: a new listener wants its routes and certificates.
				if n != before[kind][short] && short != step.pushes && (short == "CDS" || short == "LDS") {
					t.Errorf("%s: an edit of %s pushed %s: want %s alone", kind, step.name, short, step.pushes)
				}
			}
		}
	}
	t.Logf("edits: %v", done)
	for _, kind := range harness.Kinds {
		harness.Eventually(t, proxies[kind].Process, kind+": the last certificate", func() error {
			conn, err := tls.Dial("tcp", stage.Addr(t, "127.0.0.1", kind+"-https"), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			defer conn.Close()
			if !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, newest.Bytes) {
				return errNotYet
			}
			return nil
		})
	}
	for kind, crowd := range crowds {
		for name, told := range crowd.Stop() {
			t.Logf("%s: %-12s %6d requests on %4d connections, %d asked to end, %d closed, %d unaccepted", kind, name, told.Requests,
				told.Connections, told.Asked, told.Closed, told.Unaccepted)
			steady := !strings.HasPrefix(name, "edited") && !strings.HasPrefix(name, "guest")
			if told.Failures > 0 || steady && told.Asked+told.Closed > 0 || told.Requests == 0 {
				t.Errorf("%s: %s: %d of %d requests failed; %v; %v", kind, name, told.Failures, told.Requests, told.Words, told.Ends)
			}
		}
	}
}

// drainWords are how long connections may go on that a proxy has asked to end. Envoy asks HTTP/1 only drain_timeout (5 s) after
// it has begun to drain, and by default (gradual) first a few connections, then more: what is left in the end is cut.
var drainWords = map[string][]string{
	harness.Go:    {"--drain-time-s", "10"},
	harness.Envoy: {"--drain-time-s", "10", "--drain-strategy", "immediate"},
}

// stormCrowd is 200 connections of every kind.
func stormCrowd(t *testing.T, stage *harness.Stage, kind string) *harness.Crowd {
	crowd := harness.NewCrowd(t)
	paths := []string{"/a", "/b/x", "/c", "/d/y", "/e"}
	for _, g := range []struct {
		n int
		harness.Group
	}{
		{40, harness.Group{Name: "http1", Addr: "http", Proto: "HTTP/1.1"}},
		{30, harness.Group{Name: "http2", Addr: "http", Proto: "HTTP/2"}},
		{20, harness.Group{Name: "https1", Addr: "https", Proto: "HTTP/1.1", TLS: true}},
		{20, harness.Group{Name: "https2", Addr: "https", Proto: "HTTP/2", TLS: true}},
		{20, harness.Group{Name: "tcp", Addr: "tcp", Proto: "TCP"}},
		{20, harness.Group{Name: "edited1", Addr: "edited", Proto: "HTTP/1.1"}},
		{15, harness.Group{Name: "edited2", Addr: "edited", Proto: "HTTP/2"}},
		{10, harness.Group{Name: "editedtls1", Addr: "edited-tls", Proto: "HTTP/1.1", TLS: true}},
		{10, harness.Group{Name: "editedtls2", Addr: "edited-tls", Proto: "HTTP/2", TLS: true}},
		{10, harness.Group{Name: "guest1", Addr: "guest", Proto: "HTTP/1.1", Away: func() bool { return true }}},
		{5, harness.Group{Name: "guest2", Addr: "guest", Proto: "HTTP/2", Away: func() bool { return true }}},
	} {
		if stage.Ports[kind+"-"+g.Addr] == 0 {
			stage.Ports[kind+"-"+g.Addr] = harness.FreePort(t)
		}
		g.Addr, g.Host, g.Paths = stage.Addr(t, "127.0.0.1", kind+"-"+g.Addr), "shop.example.com", paths
		// The Go proxy serves who waits in a socket's queue before it closes the socket; Envoy does not.
		g.Unaccepted = kind == harness.Envoy && g.Away != nil
		g.Delay, g.Pause = 20*time.Millisecond, 150*time.Millisecond
		crowd.Join(g.n, g.Group)
	}
	return crowd
}

func updates(t *testing.T, proxies map[string]*harness.Proxy) map[string]map[string]int {
	all := map[string]map[string]int{}
	for kind, p := range proxies {
		all[kind] = maps.Clone(p.AllUpdates())
	}
	return all
}
