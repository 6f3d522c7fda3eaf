package features

import (
	"math/rand/v2"
	"strings"
	"testing"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	clusterName = "envoy.config.cluster.v3.Cluster"
	socketName  = "envoy.config.core.v3.TransportSocket"
	tcpName     = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
)

// table takes name (1), type (2) with some values, connect_timeout (4), transport_socket (24) and its name and Any, and
// common_lb_config (27) as a whole; elsewhere transport sockets are not taken.
func table() Table {
	return Table{
		clusterName:                  {1: {}, 2: {Values: []string{"EDS", "STATIC"}}, 4: {}, 24: {}, 27: {Skip: true}, 5: {Values: []string{"7"}}},
		Key(clusterName, socketName): {1: {}, 3: {Types: []protoreflect.FullName{tcpName}}},
		tcpName:                      {1: {}},
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func socket(t *testing.T, m proto.Message) *corepb.TransportSocket {
	return &corepb.TransportSocket{Name: "x", ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: packed(t, m)}}
}

func TestLacks(t *testing.T) {
	unknown := &clusterpb.Cluster{Name: "a"}
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 1}) // field 2047
	type lacks []Lack
	for _, c := range []struct {
		name    string
		message *clusterpb.Cluster
		want    lacks
	}{
		{"all is taken", &clusterpb.Cluster{Name: "a", ConnectTimeout: durationpb.New(1), CommonLbConfig: &clusterpb.Cluster_CommonLbConfig{CloseConnectionsOnHostSetChange: true}}, nil},
		{"a field", &clusterpb.Cluster{Name: "a", AltStatName: "b"}, lacks{{Field: "Cluster.alt_stat_name", Path: "alt_stat_name"}}},
		{"a value that is taken", &clusterpb.Cluster{Name: "a", ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS}}, nil},
		{"a value", &clusterpb.Cluster{Name: "a", ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_LOGICAL_DNS}}, lacks{{Field: "Cluster.type LOGICAL_DNS", Path: "type"}}},
		{"a wrapped value", &clusterpb.Cluster{Name: "a", PerConnectionBufferLimitBytes: wrapperspb.UInt32(7)}, nil},
		{"another", &clusterpb.Cluster{Name: "a", PerConnectionBufferLimitBytes: wrapperspb.UInt32(8)}, lacks{{Field: "Cluster.per_connection_buffer_limit_bytes 8", Path: "per_connection_buffer_limit_bytes"}}},
		{"an extension and what it holds", &clusterpb.Cluster{Name: "a", TransportSocket: socket(t, &tcppb.TcpProxy{StatPrefix: "a", IdleTimeout: durationpb.New(1)})},
			lacks{{Field: "TcpProxy.idle_timeout", Path: "transport_socket.typed_config.idle_timeout"}}},
		{"another extension", &clusterpb.Cluster{Name: "a", TransportSocket: socket(t, &clusterpb.Cluster{})},
			lacks{{Field: clusterName, Extension: true, Path: "transport_socket.typed_config"}}},
		{"in a list: once", &clusterpb.Cluster{TransportSocketMatches: []*clusterpb.Cluster_TransportSocketMatch{{}, {}}},
			lacks{{Field: "Cluster.transport_socket_matches", Path: "transport_socket_matches"}}},
		{"a field that nobody here knows", unknown, lacks{{Field: "Cluster.2047"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken, err := Parse(Word(table()))
			if err != nil {
				t.Fatal(err)
			}
			got, err := taken.Lacks(packed(t, c.message))
			if diff := cmp.Diff(c.want, lacks(got)); diff != "" || err != nil {
				t.Errorf("want (-), got (+), error %v:\n%s", err, diff)
			}
		})
	}
}

// TestExtensions has Envoy's word: the types of its extensions, wherever they stand.
func TestExtensions(t *testing.T) {
	node := &corepb.Node{Extensions: []*corepb.Extension{{TypeUrls: []string{"x.Y", tcpName}}, {TypeUrls: []string{tcpName}}, {}}}
	word := Of(node)
	if word != "x."+tcpName+" x.Y" {
		t.Errorf("got the word %q", word)
	}
	taken, err := Parse(word)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(m proto.Message) *clusterpb.Cluster {
		return &clusterpb.Cluster{Name: "a", AltStatName: "b", TypedExtensionProtocolOptions: map[string]*anypb.Any{"k": packed(t, m)}}
	}
	if got, err := taken.Lacks(packed(t, whole(&tcppb.TcpProxy{IdleTimeout: durationpb.New(1)}))); err != nil || len(got) > 0 {
		t.Errorf("got %v and %v, want nothing", got, err)
	}
	got, err := taken.Lacks(packed(t, whole(&clusterpb.Cluster{})))
	if diff := cmp.Diff([]Lack{{Field: clusterName, Extension: true, Path: `typed_extension_protocol_options["k"]`}}, got); diff != "" || err != nil {
		t.Errorf("error %v:\n%s", err, diff)
	}
	if !taken.Covers(table()) || taken.Covers(Table{"m": {1: {Types: []protoreflect.FullName{"z.Z"}}}}) {
		t.Error("Covers: want the types of a table to decide")
	}
}

func TestCovers(t *testing.T) {
	own := table()
	for name, c := range map[string]struct {
		change func(Table)
		want   bool
	}{
		"the same":             {func(Table) {}, true},
		"more fields":          {func(o Table) { o[clusterName][99] = Field{}; o["more"] = Message{} }, true},
		"any value":            {func(o Table) { o[clusterName][2] = Field{} }, true},
		"more values":          {func(o Table) { o[clusterName][2] = Field{Values: []string{"STATIC", "EDS", "LOGICAL_DNS"}} }, true},
		"fewer values":         {func(o Table) { o[clusterName][2] = Field{Values: []string{"EDS"}} }, false},
		"some values, not all": {func(o Table) { o[clusterName][1] = Field{Values: []string{"EDS"}} }, false},
		"a field less":         {func(o Table) { delete(o[clusterName], 4) }, false},
		"a message less":       {func(o Table) { delete(o, tcpName) }, false},
		"another type":         {func(o Table) { o[Key(clusterName, socketName)][3] = Field{Types: []protoreflect.FullName{"a.B"}} }, false},
		"it is looked into":    {func(o Table) { o[clusterName][27] = Field{} }, false},
	} {
		other := table()
		c.change(other)
		taken, err := Parse(Word(other))
		if err != nil || taken.Covers(own) != c.want {
			t.Errorf("%s: got %v and %v, want %v", name, taken.Covers(own), err, c.want)
		}
	}
}

// TestWord has words that come and go whole, and those that are none.
func TestWord(t *testing.T) {
	node := &corepb.Node{Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"zone": structpb.NewStringValue("a")}}}
	Announce(node, table())
	taken, err := Parse(Of(node))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(table(), taken.table); diff != "" || node.Metadata.Fields["zone"] == nil {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	for _, word := range []string{"", "x.a b"} {
		if _, err := Parse(word); err != nil {
			t.Errorf("%q: %v", word, err)
		}
	}
	random := make([]byte, 300)
	for i := range random {
		random[i] = byte(rand.IntN(64)) + 'A'
	}
	good := Word(table())
	bomb := Word(Table{strings.Repeat("a", maxTable): {}})
	for _, word := range []string{"2.abc", "1.!!!", "1." + string(random), good[:len(good)/2], bomb, "1." + strings.Repeat("A", maxWord)} {
		if taken, err := Parse(word); err == nil {
			t.Errorf("%.40q: got %v, want an error", word, taken)
		}
	}
	for _, node := range []*corepb.Node{
		nil, {}, {Extensions: []*corepb.Extension{{TypeUrls: []string{strings.Repeat("a", maxWord)}}}},
		{Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{metadataKey: structpb.NewStringValue("1." + strings.Repeat("A", maxWord))}}},
	} {
		if word := Of(node); word != "" {
			t.Errorf("got %.40q, want nothing", word)
		}
	}
}
