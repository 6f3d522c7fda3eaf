package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	bootstrappb "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	// The types of extensions that may stand in a static resource must be linked in, for JSON to be read.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// MaxBytes limits one bootstrap file.
const MaxBytes = 16 << 20

// Read reads a bootstrap in YAML or JSON. Further ones are merged into the first, as Envoy does with --config-yaml:
// values replace, lists grow. The error joins all that is refused.
func Read(first []byte, more ...[]byte) (*Bootstrap, error) {
	m := &bootstrappb.Bootstrap{}
	for _, data := range append([][]byte{first}, more...) {
		one, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("bootstrap: %w", err)
		}
		proto.Merge(m, one)
	}
	r := &reader{}
	b := r.read(m)
	if err := r.err(); err != nil {
		return nil, err
	}
	return b, nil
}

// parse turns one document of YAML, which includes JSON, into the message. An unknown field is an error.
func parse(data []byte) (*bootstrappb.Bootstrap, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("got %d bytes, want at most %d", len(data), MaxBytes)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var value any
	if err := decoder.Decode(&value); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var second any
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("got more than one YAML document, want one")
	}
	if value == nil {
		return &bootstrappb.Bootstrap{}, nil
	}
	if _, ok := value.(map[string]any); !ok {
		return nil, fmt.Errorf("got %T at the top, want a mapping", value)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	m := &bootstrappb.Bootstrap{}
	if err := protojson.Unmarshal(text, m); err != nil {
		return nil, err
	}
	return m, nil
}

// read takes what the table allows; the walk has refused the rest.
func (r *reader) read(m *bootstrappb.Bootstrap) *Bootstrap {
	r.walk(bootstrapTable, m)
	b := &Bootstrap{Node: m.Node, message: proto.Clone(m)}
	if b.Node == nil {
		b.Node = &corepb.Node{}
	}
	b.Node = proto.CloneOf(b.Node)
	b.Admin = r.admin(m.Admin)
	dynamic := m.DynamicResources
	r.configSource("dynamic_resources.lds_config", dynamic.GetLdsConfig())
	r.configSource("dynamic_resources.cds_config", dynamic.GetCdsConfig())
	b.DynamicListeners = dynamic.GetLdsConfig() != nil
	b.DynamicClusters = dynamic.GetCdsConfig() != nil
	if ads := dynamic.GetAdsConfig(); ads != nil {
		b.ADS = r.ads("dynamic_resources.ads_config", ads, m.StaticResources.GetClusters())
	} else if b.DynamicListeners || b.DynamicClusters {
		r.refuse("dynamic_resources.ads_config", "got none, want one: lds_config and cds_config refer to it")
	}
	r.runtime(m.LayeredRuntime)
	b.Overload = r.overload("overload_manager", m.OverloadManager)
	static := m.StaticResources
	for i, l := range static.GetListeners() {
		b.Listeners = append(b.Listeners, r.pack(at("static_resources.listeners", i), l))
	}
	for i, c := range static.GetClusters() {
		if b.ADS == nil || c.Name != b.ADS.Cluster {
			b.Clusters = append(b.Clusters, r.pack(at("static_resources.clusters", i), c))
		}
	}
	for i, s := range static.GetSecrets() {
		b.Secrets = append(b.Secrets, r.pack(at("static_resources.secrets", i), s))
	}
	return b
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (r *reader) pack(field string, m proto.Message) *anypb.Any {
	packed, err := anypb.New(m)
	if err != nil {
		r.refuse(field, "%v", err)
	}
	return packed
}

// admin is the address; what Envoy would log of admin requests is not logged here.
func (r *reader) admin(a *bootstrappb.Admin) string {
	if a == nil {
		return ""
	}
	//lint:ignore SA1019 deprecated, and common
	if path := a.AccessLogPath; path != "" && path != "/dev/null" {
		r.refuse("admin.access_log_path", "got %q, want /dev/null: %s", path, notSupported)
	}
	for i, l := range a.AccessLog {
		file, err := l.GetTypedConfig().UnmarshalNew()
		if named, ok := file.(interface{ GetPath() string }); err != nil || !ok || named.GetPath() != "/dev/null" {
			r.refuse(at("admin.access_log", i), "got a log, want one to /dev/null: %s", notSupported)
		}
	}
	if a.Address == nil {
		return ""
	}
	address := r.address("admin.address", a.Address)
	if address.Network != "tcp" {
		r.refuse("admin.address", "want a socket_address: %s", notSupported)
	}
	return address.Address
}

// configSource must be "over ADS".
func (r *reader) configSource(field string, s *corepb.ConfigSource) {
	if s == nil {
		return
	}
	if s.GetAds() == nil && len(r.refusals) == 0 {
		r.refuse(field, "want ads: %s", notSupported)
	}
	if v := s.ResourceApiVersion; v != corepb.ApiVersion_V3 {
		r.refuse(field+".resource_api_version", "got %v, want V3", v)
	}
}

// runtime takes layers that set nothing but Envoy's own switches and limits of regular expressions; the admin layer is
// empty until somebody writes to it.
func (r *reader) runtime(l *bootstrappb.LayeredRuntime) {
	for i, layer := range l.GetLayers() {
		r.staticLayer(at("layered_runtime.layers", i)+".static_layer", layer.GetStaticLayer().AsMap())
	}
}

// find returns the one cluster of a name.
func (r *reader) find(field, name string, clusters []*clusterpb.Cluster) (string, *clusterpb.Cluster) {
	for i, c := range clusters {
		if c.Name == name {
			return at("static_resources.clusters", i), c
		}
	}
	r.refuse(field, "got %q, want the name of a static cluster", name)
	return "", nil
}

// duration is a time of 0 or more, or what is taken if it is unset.
func (r *reader) duration(field string, d interface {
	AsDuration() time.Duration
	CheckValid() error
}, set bool, unset time.Duration) time.Duration {
	if !set {
		return unset
	}
	if err := d.CheckValid(); err != nil {
		r.refuse(field, "want a duration: %v", err)
		return unset
	}
	if d.AsDuration() < 0 {
		r.refuse(field, "got %v, want 0s or more", d.AsDuration())
		return unset
	}
	return d.AsDuration()
}

// hostPort joins and checks.
func (r *reader) hostPort(field, host string, port uint32) string {
	if host == "" {
		r.refuse(field+".address", `got "", want a host`)
	}
	if port > 65535 {
		r.refuse(field+".port_value", "got %d, want at most 65535", port)
	}
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}
