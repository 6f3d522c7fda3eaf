package csds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts Options) statuspb.ClientStatusDiscoveryServiceClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	Register(g, opts)
	var served sync.WaitGroup
	served.Go(func() { _ = g.Serve(l) })
	t.Cleanup(func() { g.Stop(); served.Wait() })
	return statuspb.NewClientStatusDiscoveryServiceClient(xdstest.Dial(t, l.Addr().String()))
}

func exact(id string) *matcherpb.NodeMatcher {
	return &matcherpb.NodeMatcher{NodeId: &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: id}}}
}

func lines(response *statuspb.ClientStatusResponse) (out []string) {
	for _, c := range response.GetConfig() {
		for _, r := range c.GetGenericXdsConfigs() {
			if strings.HasPrefix(r.GetName(), "barrier") {
				continue
			}
			line := fmt.Sprintf("%s/%s %s %s %s %s", c.GetNode().GetCluster(), c.GetNode().GetId(), xdstest.Short(r.GetTypeUrl()), r.GetName(), r.GetConfigStatus(), r.GetClientStatus())
			if r.GetVersionInfo() != "" {
				line += " version"
			}
			if e := r.GetErrorState(); e != nil {
				line += fmt.Sprintf(" %q %v", e.GetDetails(), e.GetVersionInfo() != "" && e.GetVersionInfo() != r.GetVersionInfo() && e.GetLastUpdateAttempt() != nil)
			}
			out = append(out, line)
		}
	}
	return out
}

// TestStatus: what each client has, in the words of CSDS; contents only of clients that are named, and without secrets.
func TestStatus(t *testing.T) {
	x := xdstest.Start(t, nil)
	secret := xdstest.Secret("cert", "TOP-SECRET")
	x.Set("edge", xdstest.Cluster("a", 1e9), xdstest.Endpoints("a", "127.0.0.1:1"), secret)
	client := start(t, Options{Server: x.Server()})
	s := x.Stream("edge", true)
	s.Subscribe(resource.ClusterType)
	s.ExpectAck("CDS a")
	s.Subscribe(resource.SecretType, "cert")
	s.ExpectAck("SDS cert")
	x.Recorder.WaitTimes(t, "acked", 2)
	fetch := func(r *statuspb.ClientStatusRequest) *statuspb.ClientStatusResponse {
		t.Helper()
		response, err := client.FetchClientStatus(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	all := fetch(&statuspb.ClientStatusRequest{})
	if got, want := lines(all), []string{
		"edge/test CDS a SYNCED ACKED version", "edge/test EDS a NOT_SENT UNKNOWN", "edge/test SDS cert SYNCED ACKED version",
	}; !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := protojson.Format(all); strings.Contains(text, "xdsConfig") {
		t.Errorf("got contents that nobody asked for:\n%s", text)
	}

	// Refused: the words, the version that was refused, and the one that is used on.
	x.Set("edge", xdstest.Cluster("a", 2e9), xdstest.Endpoints("a", "127.0.0.1:1"), secret)
	s.Nack(s.Expect("CDS a"), "I do not like it")
	x.Recorder.Wait(t, "nacked")
	named := fetch(&statuspb.ClientStatusRequest{NodeMatchers: []*matcherpb.NodeMatcher{exact("other"), exact("test")}})
	if got := lines(named); len(got) != 3 || got[0] != `edge/test CDS a ERROR NACKED version "I do not like it" true` {
		t.Errorf("got %s", got)
	}
	text := protojson.Format(named)
	for _, want := range []string{`"connectTimeout": "1s"`, `"connectTimeout": "2s"`, "failedConfiguration", "[redacted]"} {
		if !strings.Contains(strings.ReplaceAll(text, ":  ", ": "), want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "TOP-SECRET") || strings.Contains(text, "VE9QLVNFQ1JFV") { // as it is, and in base64
		t.Errorf("a secret is told:\n%s", text)
	}
	without := fetch(&statuspb.ClientStatusRequest{NodeMatchers: []*matcherpb.NodeMatcher{exact("test")}, ExcludeResourceContents: true})
	if text := protojson.Format(without); strings.Contains(text, "connectTimeout") || len(lines(without)) != 3 {
		t.Errorf("got contents though they were excluded:\n%s", text)
	}
	if got := fetch(&statuspb.ClientStatusRequest{NodeMatchers: []*matcherpb.NodeMatcher{exact("other")}}); len(got.GetConfig()) != 0 {
		t.Errorf("another node: got %v", got)
	}

	stream, err := client.StreamClientStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stream.Send(&statuspb.ClientStatusRequest{}); err != nil {
			t.Fatal(err)
		}
		if response, err := stream.Recv(); err != nil || len(lines(response)) != 3 {
			t.Errorf("stream: got %v, %v", response, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on after its end")
	}
	s.Close()
	x.Recorder.Wait(t, "closed")
	if got := fetch(&statuspb.ClientStatusRequest{}); len(got.GetConfig()) != 0 {
		t.Errorf("nobody is there: got %v", got)
	}
	// A stream whose first request has not come is nobody's.
	_ = x.Stream("edge", false)
	x.Recorder.Wait(t, "opened")
	if got := fetch(&statuspb.ClientStatusRequest{}); len(got.GetConfig()) != 0 {
		t.Errorf("a stream without a node: got %v", got)
	}
}

// TestRefused: what is not supported is refused, and so is who may not ask.
func TestRefused(t *testing.T) {
	x := xdstest.Start(t, nil)
	client := start(t, Options{Server: x.Server()})
	pattern := func(m *matcherpb.StringMatcher) *statuspb.ClientStatusRequest {
		return &statuspb.ClientStatusRequest{NodeMatchers: []*matcherpb.NodeMatcher{{NodeId: m}}}
	}
	for name, request := range map[string]*statuspb.ClientStatusRequest{
		"metadata": {NodeMatchers: []*matcherpb.NodeMatcher{{NodeMetadatas: []*matcherpb.StructMatcher{{}}}}},
		"regex":    pattern(&matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_SafeRegex{SafeRegex: &matcherpb.RegexMatcher{Regex: "("}}}),
		"nothing":  pattern(&matcherpb.StringMatcher{}),
		"many":     {NodeMatchers: slices.Repeat([]*matcherpb.NodeMatcher{exact("a")}, maxMatchers+1)},
	} {
		if _, err := client.FetchClientStatus(t.Context(), request); grpcstatus.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "node_matchers") {
			t.Errorf("%s: got %v, want it refused by its name", name, err)
		}
	}
	client = start(t, Options{Server: x.Server(), Authorize: func(context.Context) error { return grpcstatus.Error(codes.PermissionDenied, "no") }})
	if _, err := client.FetchClientStatus(t.Context(), &statuspb.ClientStatusRequest{}); grpcstatus.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want it denied", err)
	}
	stream, err := client.StreamClientStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&statuspb.ClientStatusRequest{})
	if _, err := stream.Recv(); grpcstatus.Code(err) != codes.PermissionDenied {
		t.Errorf("stream: got %v, want it denied", err)
	}
}

func TestMatch(t *testing.T) {
	regex := func(s string) *matcherpb.StringMatcher {
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_SafeRegex{SafeRegex: &matcherpb.RegexMatcher{Regex: s}}}
	}
	for _, test := range []struct {
		m    *matcherpb.StringMatcher
		want string
	}{
		{nil, "Edge-1 edge-2"},
		{&matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: "edge"}}, "edge-2"},
		{&matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: "eDGE"}, IgnoreCase: true}, "Edge-1 edge-2"},
		{&matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Suffix{Suffix: "-1"}}, "Edge-1"},
		{&matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Contains{Contains: "dge"}}, "Edge-1 edge-2"},
		{regex("edge"), ""},
		{regex("[Ee]dge-[12]|x"), "Edge-1 edge-2"},
	} {
		n, err := matchers([]*matcherpb.NodeMatcher{{NodeId: test.m}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, id := range []string{"Edge-1", "edge-2"} {
			if n.match(id) {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%v: got %v, want %s", test.m, got, test.want)
		}
	}
}
