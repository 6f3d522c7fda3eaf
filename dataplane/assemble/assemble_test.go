package assemble_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// rig is an Assembler with its neighbours played by the test.
type rig struct {
	t *testing.T
	*assemble.Assembler
	subscribed map[string]string
	// applied are the configurations, summed up; last is the last. A timer applies too: mu guards them.
	mu      sync.Mutex
	applied []string
	last    *config.Config
	// bindErrors are by listener name; bound counts.
	bindErrors map[string]error
	bound      []string
	applyError error
	version    int
}

func (r *rig) Subscribe(typeURL string, names []string) {
	slices.Sort(names)
	t, _ := resource.ByURL(typeURL)
	r.subscribed[t.Short] = strings.Join(names, " ")
}

func (r *rig) SubscribeAll(typeURL string) {
	t, _ := resource.ByURL(typeURL)
	r.subscribed[t.Short] = "*"
}

// newRig makes and starts one; change may be nil.
func newRig(t *testing.T, change func(*assemble.Options)) *rig {
	t.Helper()
	r := &rig{t: t, subscribed: map[string]string{}, bindErrors: map[string]error{}}
	options := assemble.Options{
		Subscriber: r, DynamicListeners: true, DynamicClusters: true,
		Bind: func(l *config.Listener) error {
			r.bound = append(r.bound, l.Name)
			return r.bindErrors[l.Name]
		},
		Apply: func(c *config.Config) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.last = c
			r.applied = append(r.applied, sum(c))
			return r.applyError
		},
	}
	if change != nil {
		change(&options)
	}
	a, err := assemble.New(options)
	if err != nil {
		t.Fatal(err)
	}
	r.Assembler = a
	t.Cleanup(a.Close)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	r.applied = nil
	return r
}

// sum is "L:web=:8080>t+s C:a=1s A:a=2": names, and what tells versions apart.
func sum(c *config.Config) string {
	var parts []string
	part := func(kind string, items []string) {
		if len(items) > 0 {
			slices.Sort(items)
			parts = append(parts, kind+":"+strings.Join(items, ","))
		}
	}
	var l, t, cl, a, s []string
	for name, v := range c.Listeners {
		var refs []string
		for _, chain := range v.Chains {
			if chain.HTTP != nil && chain.HTTP.RouteTableName != "" {
				refs = append(refs, chain.HTTP.RouteTableName)
			}
			if chain.TLS != nil {
				refs = append(refs, chain.TLS.CertificateNames...)
			}
		}
		l = append(l, fmt.Sprintf("%s=%d>%s", name, v.Address.Port(), strings.Join(refs, "+")))
	}
	for name, v := range c.RouteTables {
		var to []string
		for _, h := range v.Hosts {
			for _, route := range h.Routes {
				for _, w := range route.Clusters {
					to = append(to, w.Name)
				}
			}
		}
		t = append(t, name+">"+strings.Join(to, "+"))
	}
	for name, v := range c.Clusters {
		cl = append(cl, fmt.Sprintf("%s=%v>%s", name, v.ConnectTimeout, v.AssignmentName))
	}
	for name, v := range c.Assignments {
		a = append(a, fmt.Sprintf("%s=%d", name, len(v.Endpoints)))
	}
	s = slices.Collect(maps.Keys(c.Certificates))
	part("L", l)
	part("R", t)
	part("C", cl)
	part("A", a)
	part("S", s)
	return strings.Join(parts, " ")
}

// got returns what was applied since the last call.
func (r *rig) got() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := strings.Join(r.applied, "\n")
	r.applied = nil
	return out
}

// send gives a response: resources, and "-name" for removals. It returns the refusals, by name.
func (r *rig) send(typeURL string, what ...string) map[string]error {
	r.version++
	u := client.Update{TypeURL: typeURL, Version: fmt.Sprint(r.version)}
	for _, w := range what {
		if name, removed := strings.CutPrefix(w, "-"); removed {
			u.Removed = append(u.Removed, name)
			continue
		}
		body := unpack(r.t, typeURL, w)
		u.Resources = append(u.Resources, client.Resource{Name: nameIn(r.t, w), Version: u.Version, Body: body})
	}
	return r.Update(u)
}

// accept sends what must not be refused, and compares what is applied then.
func (r *rig) accept(want, typeURL string, what ...string) {
	r.t.Helper()
	if refused := r.send(typeURL, what...); len(refused) > 0 {
		r.t.Errorf("refused: %v", refused)
	}
	r.expect(want)
}

func (r *rig) expect(want string) {
	r.t.Helper()
	if got := r.got(); got != want {
		r.t.Errorf("applied:\ngot  %s\nwant %s", got, want)
	}
}

func (r *rig) wants(short, want string) {
	r.t.Helper()
	if got := r.subscribed[short]; got != want {
		r.t.Errorf("%s subscription: got %q, want %q", short, got, want)
	}
}

func (r *rig) ready() bool {
	select {
	case <-r.Ready():
		return true
	default:
		return false
	}
}

func unpack(t *testing.T, typeURL, text string) *anypb.Any {
	t.Helper()
	out := &anypb.Any{}
	if err := protojson.Unmarshal([]byte(`{"@type":"`+typeURL+`",`+text[1:]), out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

func nameIn(t *testing.T, text string) string {
	t.Helper()
	var names struct {
		Name        string
		ClusterName string `json:"cluster_name"`
	}
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		t.Fatal(err)
	}
	return cmp.Or(names.Name, names.ClusterName)
}

const (
	cds = resource.ClusterType
	eds = resource.EndpointType
	sds = resource.SecretType
	lds = resource.ListenerType
	rds = resource.RouteType
	ads = `{"ads":{},"resource_api_version":"V3"}`
)

// cluster is an EDS cluster; timeout tells versions apart.
func cluster(name, timeout, service string) string {
	return fmt.Sprintf(`{"name":%q,"type":"EDS","connect_timeout":%q,"eds_cluster_config":{"eds_config":%s,"service_name":%q}}`, name, timeout, ads, service)
}

func endpoints(name string, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":%d}}}}`, 9000+i))
	}
	return fmt.Sprintf(`{"cluster_name":%q,"endpoints":[{"lb_endpoints":[%s]}]}`, name, strings.Join(list, ","))
}

func table(name string, clusters ...string) string {
	var routes []string
	for _, c := range clusters {
		routes = append(routes, fmt.Sprintf(`{"match":{"prefix":"/%s"},"route":{"cluster":%q,"timeout":"0s"}}`, c, c))
	}
	return fmt.Sprintf(`{"name":%q,"virtual_hosts":[{"name":"v","domains":["*"],"routes":[%s]}]}`, name, strings.Join(routes, ","))
}

func httpFilter(table string) string {
	return `{"name":"http","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
"stat_prefix":"x","use_remote_address":true,"normalize_path":true,"generate_request_id":true,"rds":{"route_config_name":"` + table + `","config_source":` + ads + `},
"http_filters":[{"name":"router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router","suppress_envoy_headers":true}}]}}`
}

func tcpFilter(cluster string) string {
	return `{"name":"tcp","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"x","cluster":"` + cluster + `"}}`
}

// listenerOf has one chain; secret may be empty.
func listenerOf(name string, port int, filter, secret string) string {
	socket := ""
	if secret != "" {
		socket = `,"transport_socket":{"name":"tls","typed_config":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
"common_tls_context":{"alpn_protocols":["h2","http/1.1"],"tls_certificate_sds_secret_configs":[{"name":"` + secret + `","sds_config":` + ads + `}]}}}`
	}
	return fmt.Sprintf(`{"name":%q,"enable_reuse_port":true,"address":{"socket_address":{"address":"127.0.0.1","port_value":%d}},"filter_chains":[{"name":"c","filters":[%s]%s}]}`,
		name, port, filter, socket)
}

func listener(name string, port int, table string) string {
	return listenerOf(name, port, httpFilter(table), "")
}

func TestColdStart(t *testing.T) {
	r := newRig(t, nil)
	r.wants("CDS", "*")
	r.wants("LDS", "*")
	r.accept("", cds, cluster("a", "1s", ""), cluster("b", "1s", "other"))
	r.wants("EDS", "a other")
	r.accept("C:a=1s>a A:a=1", eds, endpoints("a", 1))
	r.accept("C:a=1s>a,b=1s>other A:a=1,other=0", eds, endpoints("other", 0))
	r.accept("", lds, listenerOf("web", 80, httpFilter("t"), "s"))
	r.wants("RDS", "t")
	r.wants("SDS", "s")
	if r.ready() {
		t.Error("ready before the listener is warm")
	}
	r.accept("R:t>a C:a=1s>a,b=1s>other A:a=1,other=0", rds, table("t", "a"))
	r.Missing(sds, "s")
	r.expect("L:web=80>t+s R:t>a C:a=1s>a,b=1s>other A:a=1,other=0")
	if !r.ready() {
		t.Error("not ready with all there")
	}
	if r.send(sds, secret("s")); r.got() == "" {
		t.Error("a secret that comes late was not applied")
	}
}

// TestChangedBeforeReady: who ends the proxy as soon as it is ready finds what served kept.
func TestChangedBeforeReady(t *testing.T) {
	var r *rig
	told := 0
	r = newRig(t, func(o *assemble.Options) {
		o.Changed = func() {
			if told++; told == 1 && r.ready() {
				t.Error("ready before it is told that something serves")
			}
		}
	})
	r.accept("", cds, cluster("a", "1s", ""))
	r.accept("C:a=1s>a A:a=1", eds, endpoints("a", 1))
	r.send(lds)
	if !r.ready() || told == 0 {
		t.Errorf("ready: %v, told %d times", r.ready(), told)
	}
}

func TestListenerWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		end func(r *rig)
	}{
		"until it comes":          {func(r *rig) { r.send(rds, table("t2", "a")) }},
		"until it does not exist": {func(r *rig) { r.send(rds, "-t2") }},
		"until it is late":        {func(r *rig) { r.Missing(rds, "t2") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := warm(t)
			r.accept("", lds, listener("web", 80, "t2"))
			r.wants("RDS", "t t2")
			if refused := r.send(rds, `{"name":"t2","virtual_hosts":[{"name":"v"}]}`); len(refused) != 1 {
				t.Errorf("refused: got %v, want one", refused)
			}
			r.expect("") // the old one can wait for a good one
			tt.end(r)
			if got := r.got(); !strings.HasPrefix(got, "L:web=80>t2 ") {
				t.Errorf("applied: got %s, want the new listener", got)
			}
			r.wants("RDS", "t2")
		})
	}
	t.Run("a new one with a refused table serves", func(t *testing.T) {
		r := warm(t)
		r.send(lds, listener("new", 81, "t2"))
		r.send(rds, `{"name":"t2","virtual_hosts":[{"name":"v"}]}`)
		if !strings.Contains(r.got(), "new=81>t2") {
			t.Error("it waits for what may never come")
		}
	})
	t.Run("for the first clusters", func(t *testing.T) {
		r := newRig(t, nil)
		r.accept("", lds, listener("web", 80, "t"), listenerOf("raw", 81, tcpFilter("a"), ""))
		r.accept("", rds, table("t", "a"))
		r.accept("", cds, cluster("a", "1s", ""))
		r.accept("L:raw=81>,web=80>t R:t>a C:a=1s>a A:a=1", eds, endpoints("a", 1))
	})
	t.Run("but not for ever", func(t *testing.T) {
		r := newRig(t, nil)
		r.accept("", lds, listener("web", 80, "t"), listenerOf("raw", 81, tcpFilter("a"), ""))
		r.accept("", rds, table("t", "a"))
		r.Missing(cds, client.Wildcard)
		r.expect("L:raw=81>,web=80>t R:t>a")
		if r.ready() {
			t.Error("ready without an answer about clusters")
		}
	})
}

// warm has one listener, table and cluster.
func warm(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.send(cds, cluster("a", "1s", ""))
	r.send(eds, endpoints("a", 1))
	r.send(lds, listener("web", 80, "t"))
	r.send(rds, table("t", "a"))
	if !r.ready() {
		t.Fatal("not ready")
	}
	if got, want := sum(r.last), "L:web=80>t R:t>a C:a=1s>a A:a=1"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	r.got()
	return r
}

func TestClusterWarms(t *testing.T) {
	r := warm(t)
	r.accept("", cds, cluster("a", "2s", "")) // its endpoints are sent again right behind it
	r.accept("L:web=80>t R:t>a C:a=2s>a A:a=1", eds, endpoints("a", 1))
	r.accept("", cds, cluster("a", "3s", "other"))
	r.wants("EDS", "a other")
	r.accept("L:web=80>t R:t>a C:a=2s>a A:a=2", eds, endpoints("a", 2)) // the old one goes on
	r.accept("L:web=80>t R:t>a C:a=3s>other A:other=1", eds, endpoints("other", 1))
	r.wants("EDS", "other")
	r.accept("", cds, cluster("a", "3s", "late"))
	r.Missing(eds, "late")
	r.expect("L:web=80>t R:t>a C:a=3s>late")
	r.accept("L:web=80>t R:t>a C:a=3s>late A:late=1", eds, endpoints("late", 1))
}

// A cluster and its endpoints that change together serve together; with a control plane that does not send the endpoints
// again, the change is a little late.
func TestChangedClusterWaitsForItsEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.Close()
		r.send(cds, cluster("a", "1s", ""))
		r.send(eds, endpoints("a", 1))
		r.got()
		r.accept("", cds, cluster("a", "2s", ""))
		r.accept("C:a=2s>a A:a=3", eds, endpoints("a", 3))

		r.accept("", cds, cluster("a", "3s", ""))
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		r.expect("C:a=3s>a A:a=3")

		r.accept("", cds, cluster("a", "4s", ""))
		r.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		r.expect("")
	})
}

func TestRoutesWaitForClusters(t *testing.T) {
	r := warm(t)
	r.accept("", cds, cluster("b", "1s", ""))
	r.accept("", rds, table("t", "b"))
	// The control plane may think now that nothing goes to a.
	r.accept("", cds, "-a")
	r.wants("EDS", "a b")
	r.accept("L:web=80>t R:t>b C:b=1s>b A:b=1", eds, endpoints("b", 1))
	r.wants("EDS", "b")
	// One that nobody knows is not waited for.
	r.accept("L:web=80>t R:t>b+c C:b=1s>b A:b=1", rds, table("t", "b", "c"))
}

func TestHeldListenerKeepsItsClusters(t *testing.T) {
	r := warm(t)
	r.accept("", lds, listener("web", 80, "t2"))
	r.accept("", cds, "-a")
	r.accept("L:web=80>t2 R:t2>", rds, table("t2"))
}

func TestForgets(t *testing.T) {
	r := warm(t)
	r.accept("R:t>a C:a=1s>a A:a=1"[len("R:t>a "):], lds, "-web")
	r.wants("RDS", "")
	r.accept("", lds, listener("web", 80, "t")) // must wait again
	r.accept("L:web=80>t R:t>a C:a=1s>a A:a=1", rds, table("t", "a"))
	r.accept("L:web=80>t R:t>a", cds, "-a")
	r.wants("EDS", "")
}

func TestLeafRemoved(t *testing.T) {
	r := warm(t)
	r.accept("", eds, "-a")
	r.accept("", rds, "-t") // what still serves is kept, as in Envoy
	if refused := r.Update(client.Update{TypeURL: eds, Removed: []string{"a"}, Expired: true}); len(refused) > 0 {
		t.Error(refused)
	}
	r.expect("L:web=80>t R:t>a C:a=1s>a")
	r.Update(client.Update{TypeURL: rds, Removed: []string{"t"}, Expired: true})
	r.expect("L:web=80>t C:a=1s>a")
}

func TestSameAgainIsNotApplied(t *testing.T) {
	r := warm(t)
	before := r.last.Clusters["a"]
	r.accept("", cds, cluster("a", "1s", ""))
	r.accept("", eds, endpoints("a", 1))
	r.accept("", lds, listener("web", 80, "t"))
	r.accept("L:web=80>t R:t>a C:a=1s>a A:a=2", eds, endpoints("a", 2))
	if r.last.Clusters["a"] != before {
		t.Error("an unchanged cluster is another object")
	}
	if len(r.bound) != 1 {
		t.Errorf("bound %v, want once", r.bound)
	}
}

func TestRefusals(t *testing.T) {
	r := warm(t)
	maglev := strings.Replace(cluster("m", "1s", ""), `"name"`, `"lb_policy":"MAGLEV","name"`, 1)
	refused := r.send(cds, maglev, cluster("b", "1s", ""))
	if len(refused) != 1 || !strings.Contains(refused["m"].Error(), `cluster "m": lb_policy: got MAGLEV`) {
		t.Errorf("got %v, want m's lb_policy", refused)
	}
	r.accept("L:web=80>t R:t>a C:a=1s>a,b=1s>b A:a=1,b=1", eds, endpoints("b", 1))
	worse := strings.Replace(cluster("a", "9s", ""), `"name"`, `"lb_policy":"MAGLEV","name"`, 1)
	if refused := r.send(cds, worse); len(refused) != 1 {
		t.Errorf("got %v, want one", refused)
	}
	r.expect("") // the old a serves on
	if refused := r.send("type.googleapis.com/odd"); len(refused) != 0 {
		t.Errorf("got %v", refused)
	}
}

func TestListenerAddresses(t *testing.T) {
	bad := errors.New("address in use")
	for name, tt := range map[string]struct {
		bind map[string]error
		send []string
		want map[string]string // name → part of the refusal
		then string            // listeners applied in the end, by port
	}{
		"cannot be bound":     {map[string]error{"x": bad}, []string{listener("x", 81, "t")}, map[string]string{"x": `listener "x": address 127.0.0.1:81: address in use`}, "web=80"},
		"taken":               {nil, []string{listener("x", 80, "t")}, map[string]string{"x": `listener "x": address: got 127.0.0.1:80, which is listener "web"'s`}, "web=80"},
		"twice in one answer": {nil, []string{listener("x", 81, "t"), listener("y", 81, "t")}, map[string]string{"y": `which is listener "x"'s`}, "web=80 x=81"},
		"renamed":             {nil, []string{"-web", listener("x", 80, "t")}, nil, "x=80"},
		"given up":            {nil, []string{listener("web", 82, "t"), listener("x", 80, "t")}, nil, "web=82 x=80"},
		"given up, but not": {map[string]error{"web": bad}, []string{listener("web", 82, "t"), listener("x", 80, "t")},
			map[string]string{"web": "address in use", "x": `which is listener "web"'s`}, "web=80"},
		"port 0":           {nil, []string{listener("x", 0, "t"), listener("y", 0, "t")}, nil, "web=80 x=0 y=0"},
		"the others serve": {map[string]error{"x": bad}, []string{listener("x", 81, "t"), listener("y", 82, "t")}, map[string]string{"x": "address in use"}, "web=80 y=82"},
	} {
		t.Run(name, func(t *testing.T) {
			r := warm(t)
			maps.Copy(r.bindErrors, tt.bind)
			refused := r.send(lds, tt.send...)
			if len(refused) != len(tt.want) {
				t.Errorf("refused: got %v, want %v", refused, tt.want)
			}
			for name, part := range tt.want {
				if refused[name] == nil || !strings.Contains(refused[name].Error(), part) {
					t.Errorf("%s: got %v, want %s", name, refused[name], part)
				}
			}
			var got []string
			for name, l := range r.last.Listeners {
				got = append(got, fmt.Sprintf("%s=%d", name, l.Address.Port()))
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tt.then {
				t.Errorf("listeners: got %v, want %s", got, tt.then)
			}
		})
	}
}

func TestApplyFailsAndIsTriedAgain(t *testing.T) {
	r := warm(t)
	r.applyError = errors.New("no")
	r.send(eds, endpoints("a", 2))
	r.got()
	r.applyError = nil
	r.accept("L:web=80>t R:t>a C:a=1s>a A:a=2", eds, endpoints("a", 2))
	r.accept("", eds, endpoints("a", 2))
}

// A secret that no handshake could use is told to the control plane, not to the clients.
func TestUnusableSecretIsRefused(t *testing.T) {
	r := newRig(t, nil)
	chain, key := pair()
	cut := fmt.Sprintf(`{"name":"s","tls_certificate":{"certificate_chain":{"inline_string":%q},"private_key":{"inline_string":%q}}}`, chain+chain[:100], key)
	refused := r.send(sds, cut)
	if err := refused["s"]; err == nil || !strings.Contains(err.Error(), `secret "s": tls_certificate: chain: a PEM block is cut short`) {
		t.Errorf("got %v, want a refusal that names the secret and what is wrong with it", err)
	}
}
