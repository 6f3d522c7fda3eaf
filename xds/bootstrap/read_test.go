package bootstrap_test

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/client"
)

// envoyStyle has all that is taken, and much that is harmless, as other control planes write it.
const envoyStyle = `
node:
  id: n
  cluster: c
  locality: {region: r, zone: z}
  metadata: {role: edge}
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 19000}}
  access_log:
  - name: envoy.access_loggers.file
    typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null}
stats_config: {stats_tags: [{tag_name: x, regex: "^a"}]}
stats_flush_interval: 10s
watchdogs: {main_thread_watchdog: {miss_timeout: 1s}}
layered_runtime:
  layers:
  - {name: static, static_layer: {"envoy.reloadable_features.x": true, re2: {max_program_size.error_level: 1000}}}
  - {name: admin, admin_layer: {}}
dynamic_resources:
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  cds_config: {ads: {}, resource_api_version: V3}
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
    - initial_metadata: [{key: token, value: t}]
      envoy_grpc:
        cluster_name: xds
        authority: xds.example.com
        max_receive_message_length: 1000
        retry_policy: {retry_back_off: {base_interval: 1s}}
static_resources:
  clusters:
  - name: xds
    type: LOGICAL_DNS
    dns_lookup_family: V4_ONLY
    connect_timeout: 3s
    lb_policy: ROUND_ROBIN
    http2_protocol_options: {connection_keepalive: {interval: 40s, timeout: 7s}}
    upstream_connection_options: {tcp_keepalive: {keepalive_time: 10, keepalive_probes: 2}}
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: one.example.com, port_value: 1}}}
        - endpoint: {address: {pipe: {path: /run/xds.sock}}}
  - name: other
    type: STATIC
    health_checks: [{timeout: 1s}]
  secrets:
  - name: s
`

func TestRead(t *testing.T) {
	b, err := bootstrap.Read([]byte(envoyStyle))
	if err != nil {
		t.Fatal(err)
	}
	if b.Admin != "127.0.0.1:19000" || !b.DynamicClusters || !b.DynamicListeners || len(b.Secrets) != 1 {
		t.Errorf("got %+v", b)
	}
	// Static resources are handed on, whatever is in them; the control plane's cluster is not among them.
	if len(b.Clusters) != 1 {
		t.Errorf("clusters: got %d, want other alone", len(b.Clusters))
	}
	want := &bootstrap.ADS{
		Cluster: "xds", StateOfTheWorld: true, BackoffBase: time.Second, BackoffMax: 10 * time.Second,
		Target: client.Target{
			Addresses: []client.Address{{Network: "tcp4", Address: "one.example.com:1"}, {Network: "unix", Address: "/run/xds.sock"}},
			Authority: "xds.example.com", Metadata: []string{"token", "t"}, MaxMessage: 1000,
			PingInterval: 40 * time.Second, PingTimeout: 7 * time.Second, ConnectTimeout: 3 * time.Second,
			TCPKeepAlive: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Count: 2},
		},
	}
	if !reflect.DeepEqual(b.ADS, want) {
		t.Errorf("ADS:\ngot  %+v\nwant %+v", b.ADS, want)
	}
	if text, err := b.JSON(); err != nil || !strings.Contains(string(text), "one.example.com") {
		t.Errorf("JSON: %v\n%s", err, text)
	}
}

func TestReadRefuses(t *testing.T) {
	grpc := func(cluster string) string {
		return `{dynamic_resources: {ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: x}}]}},
static_resources: {clusters: [{name: x, http2_protocol_options: {}, load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}}]}]}` + cluster + `}]}}`
	}
	if _, err := bootstrap.Read([]byte(grpc(""))); err != nil {
		t.Fatalf("the frame of the cases below: %v", err)
	}
	overload := func(monitors, actions string) string {
		return "overload_manager: {resource_monitors: [" + monitors + "], actions: [" + actions + "]}"
	}
	const heap = `{name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 9}}`
	stop := func(trigger, threshold string) string {
		return "{name: envoy.overload_actions.stop_accepting_requests, triggers: [{name: " + trigger + ", threshold: {value: " + threshold + "}}]}"
	}
	if _, err := bootstrap.Read([]byte(overload(heap, stop("h", "1")))); err != nil {
		t.Fatalf("the frame of the cases below: %v", err)
	}
	tls := func(context string) string {
		return grpc(`, transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, ` + context + `}}`)
	}
	for name, tt := range map[string]struct{ in, want string }{
		"not yaml":        {"{", "bootstrap: yaml"},
		"a list":          {"[]", "got []interface {} at the top, want a mapping"},
		"two documents":   {"node: {}\n---\nnode: {}", "more than one YAML document"},
		"unknown field":   {"nodes: {}", `unknown field "nodes"`},
		"duplicate key":   {"node: {}\nnode: {}", `mapping key "node" already defined`},
		"wrong type":      {"node: {id: 7}", "invalid value for string field id: 7"},
		"unknown type":    {`{admin: {access_log: [{typed_config: {"@type": type.googleapis.com/no.such.Type}}]}}`, "no.such.Type"},
		"tracing":         {"tracing: {http: {name: x}}", "tracing: not supported by sluice-proxy"},
		"stats sink":      {"stats_sinks: [{name: x}]", "stats_sinks: not supported"},
		"refresh":         {"overload_manager: {refresh_interval: 0.001s}", "overload_manager.refresh_interval: got 1ms, want at least 10ms"},
		"load shedding":   {"overload_manager: {loadshed_points: [{name: x}]}", "overload_manager.loadshed_points: not supported"},
		"monitor":         {overload(`{name: a, typed_config: {"@type": type.googleapis.com/google.protobuf.Struct, value: {}}}`, ""), "overload_manager.resource_monitors[0]"},
		"no monitor":      {overload(`{name: a}`, ""), "overload_manager.resource_monitors[0].typed_config"},
		"no connections":  {overload(`{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig}}`, ""), "max_active_downstream_connections: got 0, want 1 or more"},
		"no heap":         {overload(strings.Replace(heap, ": 9", ": 0", 1), ""), "max_heap_size_bytes: got 0, want 1 or more"},
		"heap twice":      {overload(heap+","+heap, ""), `overload_manager.resource_monitors[1].name: got "h" twice`},
		"two heaps":       {overload(heap+","+strings.Replace(heap, "name: h", "name: i", 1), ""), "overload_manager.resource_monitors[1]: got a second bound of this kind"},
		"heap by runtime": {overload(strings.Replace(heap, "max_heap_size_bytes: 9", "max_heap_size_bytes_runtime: {runtime_key: a, default_value: 9}", 1), ""), "max_heap_size_bytes_runtime: not supported"},
		"action":          {overload(heap, `{name: envoy.overload_actions.disable_http_keepalive, triggers: [{name: h, threshold: {value: 1}}]}`), `overload_manager.actions[0].name: got "envoy.overload_actions.disable_http_keepalive": not supported`},
		"action twice":    {overload(heap, stop("h", "1")+","+stop("h", "1")), "overload_manager.actions[1].name: got"},
		"no trigger":      {overload(heap, `{name: envoy.overload_actions.stop_accepting_requests}`), "overload_manager.actions[0].triggers: got 0, want 1"},
		"unknown trigger": {overload(heap, stop("x", "1")), `overload_manager.actions[0].triggers[0].name: got "x", want a monitor of memory`},
		"no threshold":    {overload(heap, stop("h", "0")), "threshold.value: got 0, want more than 0 and at most 1"},
		"high threshold":  {overload(heap, stop("h", "1.5")), "threshold.value: got 1.5, want more than 0"},
		"scaled":          {overload(heap, `{name: envoy.overload_actions.stop_accepting_requests, triggers: [{name: h, scaled: {scaling_threshold: 0.5, saturation_threshold: 0.9}}]}`), "triggers[0].scaled: not supported"},
		"extension":       {"bootstrap_extensions: [{name: x}]", "bootstrap_extensions: not supported"},
		"hds":             {"hds_config: {}", "hds_config: not supported"},
		"load stats":      {"cluster_manager: {load_stats_config: {}}", "cluster_manager.load_stats_config: not supported"},
		"runtime limit":   {"layered_runtime: {layers: [{name: s, static_layer: {overload: {global_downstream_max_connections: 1}}}]}", `layered_runtime.layers[0].static_layer: got the key "overload.global_downstream_max_connections": not supported`},
		"rtds":            {"layered_runtime: {layers: [{name: s, rtds_layer: {name: x}}]}", "layered_runtime.layers[0].rtds_layer: not supported"},
		"admin pipe":      {"admin: {address: {pipe: {path: /x}}}", "admin.address: want a socket_address"},
		"admin log":       {"admin: {access_log_path: /var/log/x}", `admin.access_log_path: got "/var/log/x", want /dev/null`},
		"admin paths":     {"admin: {allow_paths: [{exact: /ready}]}", "admin.allow_paths: not supported"},
		"admin port":      {"admin: {address: {socket_address: {address: a, port_value: 70000}}}", "admin.address.socket_address.port_value: got 70000, want at most 65535"},
		"lds file":        {"dynamic_resources: {lds_config: {path_config_source: {path: /x}}}", "dynamic_resources.lds_config.path_config_source: not supported"},
		"no ads":          {"dynamic_resources: {lds_config: {ads: {}, resource_api_version: V3}}", "dynamic_resources.ads_config: got none"},
		"v2":              {"dynamic_resources: {cds_config: {ads: {}}}", "dynamic_resources.cds_config.resource_api_version: got AUTO, want V3"},
		"rest":            {"dynamic_resources: {ads_config: {api_type: REST, transport_api_version: V3}}", "ads_config.api_type: got REST, want GRPC or DELTA_GRPC"},
		"google grpc":     {"dynamic_resources: {ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{google_grpc: {target_uri: x, stat_prefix: y}}]}}", "grpc_services[0].google_grpc: not supported"},
		"two services":    {"dynamic_resources: {ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: x}}, {envoy_grpc: {cluster_name: y}}]}}", "grpc_services: got 2, want 1"},
		"no such cluster": {"dynamic_resources: {ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: x}}]}}", `envoy_grpc.cluster_name: got "x", want the name of a static cluster`},
		"eds":             {grpc(", type: EDS"), "static_resources.clusters[0].type: got EDS, want STATIC, STRICT_DNS or LOGICAL_DNS"},
		"health checks":   {grpc(", health_checks: [{timeout: 1s}]"), "static_resources.clusters[0].health_checks: not supported"},
		"name of STATIC":  {strings.Replace(grpc(", type: STATIC"), "10.0.0.1", "localhost", 1), `got host "localhost", want an IP address, or type STRICT_DNS`},
		"no http2":        {strings.Replace(grpc(""), "http2_protocol_options: {}, ", "", 1), "static_resources.clusters[0]: want http2_protocol_options"},
		"no endpoints":    {strings.Replace(grpc(""), "{endpoints: [", "{endpoints: []}, metadata: {filter_metadata: {}}}]}} #[", 1), "static_resources.clusters[0].load_assignment: got no endpoint"},
		"connect timeout": {grpc(", connect_timeout: 0s"), "connect_timeout: got 0s, want more"},
		"unverified":      {tls("sni: x"), "validation_context.trusted_ca: got none, want one"},
		"sds":             {tls("common_tls_context: {tls_certificate_sds_secret_configs: [{name: x}], validation_context: {trusted_ca: {filename: x}}}"), "common_tls_context.tls_certificate_sds_secret_configs[0].sds_config: want a path_config_source"},
		"sds over ads":    {tls("common_tls_context: {validation_context_sds_secret_config: {name: x, sds_config: {ads: {}, resource_api_version: V3}}}"), "validation_context_sds_secret_config.sds_config.ads: not supported"},
		"sds v2":          {tls("common_tls_context: {validation_context_sds_secret_config: {name: x, sds_config: {path_config_source: {path: x}}}}"), "sds_config.resource_api_version: got AUTO, want V3"},
		"two identities":  {tls("common_tls_context: {tls_certificates: [{certificate_chain: {filename: x}, private_key: {filename: x}}], tls_certificate_sds_secret_configs: [{name: x, sds_config: {path_config_source: {path: x}, resource_api_version: V3}}], validation_context: {trusted_ca: {filename: x}}}"), "tls_certificate_sds_secret_configs: got some beside tls_certificates"},
		"old tls":         {tls("common_tls_context: {tls_params: {tls_minimum_protocol_version: TLSv1_0}, validation_context: {trusted_ca: {filename: x}}}"), "tls_minimum_protocol_version: got TLSv1_0, want TLSv1_2 or TLSv1_3"},
		"pin":             {tls("common_tls_context: {validation_context: {trusted_ca: {filename: x}, verify_certificate_hash: [a]}}"), "validation_context.verify_certificate_hash: not supported"},
		"prefix name":     {tls("common_tls_context: {validation_context: {trusted_ca: {filename: x}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {prefix: a}}]}}"), "match_typed_subject_alt_names[0].matcher.prefix: not supported"},
		"e-mail name":     {tls("common_tls_context: {validation_context: {trusted_ca: {filename: x}, match_typed_subject_alt_names: [{san_type: EMAIL, matcher: {exact: a}}]}}"), "san_type: got EMAIL, want DNS, URI or IP_ADDRESS"},
		"half a pair":     {tls("common_tls_context: {tls_certificates: [{certificate_chain: {filename: x}}], validation_context: {trusted_ca: {filename: x}}}"), "tls_certificates[0]: want certificate_chain and private_key"},
		"raw buffer":      {grpc(`, transport_socket: {name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Duration, value: 1s}}`), "transport_socket.typed_config: want an UpstreamTlsContext"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bootstrap.Read([]byte(tt.in))
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "\u00a0", " "), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := bootstrap.Read([]byte("tracing: {}\nhds_config: {}\n"))
		if err == nil || strings.Count(err.Error(), "not supported") != 2 {
			t.Errorf("got %v, want both fields", err)
		}
	})
}

func TestOverlay(t *testing.T) {
	b, err := bootstrap.Read([]byte(envoyStyle), []byte(`{node: {id: m}, static_resources: {secrets: [{name: t}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if b.Node.Id != "m" || b.Node.Cluster != "c" || len(b.Secrets) != 2 {
		t.Errorf("got node %v, %d secrets", b.Node, len(b.Secrets))
	}
}

func TestIdentify(t *testing.T) {
	read := func(text string) *bootstrap.Bootstrap {
		t.Helper()
		b, err := bootstrap.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := read(envoyStyle)
	if err := b.Identify("", "other", "v1.22.333-rc1"); err != nil {
		t.Fatal(err)
	}
	v := b.Node.GetUserAgentBuildVersion().GetVersion()
	if b.Node.Id != "n" || b.Node.Cluster != "other" || b.Node.UserAgentName != "sluice-proxy" || v.GetMajorNumber() != 1 || v.GetMinorNumber() != 22 || v.GetPatch() != 333 {
		t.Errorf("got %v", b.Node)
	}
	if err := b.Identify("x", "", "(devel)"); err != nil || b.Node.Id != "x" || b.Node.GetUserAgentVersion() != "(devel)" {
		t.Errorf("got %v, %v", b.Node, err)
	}
	b = read(strings.Replace(envoyStyle, "  id: n\n", "", 1))
	if err := b.Identify("", "", "1"); err == nil || !strings.Contains(err.Error(), `node.id: got "", want a name, here or by --service-node`) {
		t.Errorf("got %v", err)
	}
	if err := read("{}").Identify("", "", "1"); err != nil {
		t.Errorf("all static: got %v, want nil: nobody asks for the node", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(envoyStyle))
	f.Add([]byte("{}"))
	for _, o := range written {
		text, err := bootstrap.Write(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := bootstrap.Read(data)
		if (b == nil) == (err == nil) {
			t.Fatalf("got %v and %v", b, err)
		}
		if err == nil {
			if _, err := b.JSON(); err != nil {
				t.Errorf("JSON of what was read: %v", err)
			}
		}
	})
}
