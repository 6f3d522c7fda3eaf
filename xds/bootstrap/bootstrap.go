// Package bootstrap reads and writes Envoy's bootstrap file, from which both kinds of proxy start: who the proxy is,
// where its control plane and its admin server are, and what is configured without a control plane.
//
// In: YAML or JSON (Read), or a few facts (Write). Out: a Bootstrap, or a file that is good for `envoy -c` and for
// `sluice-proxy -c`. What Sluice's proxy does not implement in a bootstrap is refused by name: one table (table.go) says
// of each field whether it is taken, harmless or refused. It must not know what a listener or a cluster means: static
// resources are handed on for others to decode.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
package bootstrap

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/redact"
)

// Agent is the user_agent_name that Sluice's proxy tells to control planes.
const Agent = "sluice-proxy"

// Bootstrap is what a proxy starts from.
type Bootstrap struct {
	// Node is the proxy's own, as written; Identify completes it.
	Node *corepb.Node
	// Admin is the admin server's address, host:port; empty is none.
	Admin string
	// ADS is the control plane; nil is none: all is static.
	ADS *ADS
	// Overload is what the overload manager bounds.
	Overload Overload
	// DynamicListeners and DynamicClusters: all listeners (LDS), all clusters (CDS) come from the control plane.
	DynamicListeners, DynamicClusters bool
	// Listeners, Clusters and Secrets are static. The control plane's own cluster is not among the Clusters.
	Listeners, Clusters, Secrets []*anypb.Any

	message proto.Message
}

// ADS is how to reach the control plane.
type ADS struct {
	// Cluster is the name of its static cluster.
	Cluster string
	// StateOfTheWorld is api_type GRPC; else DELTA_GRPC.
	StateOfTheWorld bool
	Target          client.Target
	// BackoffBase and BackoffMax are for reconnects; 500 ms and 30 s unless written, as Envoy has it.
	BackoffBase, BackoffMax time.Duration
}

// Identify completes the node: id and cluster replace the file's if they are not empty (--service-node,
// --service-cluster), version is the proxy's own. A node that is asked for by the control plane needs both.
func (b *Bootstrap) Identify(id, cluster, version string) error {
	if id != "" {
		b.Node.Id = id
	}
	if cluster != "" {
		b.Node.Cluster = cluster
	}
	b.Node.UserAgentName = Agent
	setVersion(b.Node, version)
	if b.ADS == nil {
		return nil
	}
	for _, f := range []struct{ field, flag, value string }{
		{"node.id", "--service-node", b.Node.Id}, {"node.cluster", "--service-cluster", b.Node.Cluster},
	} {
		if f.value == "" {
			return fmt.Errorf(`bootstrap: %s: got "", want a name, here or by %s`, f.field, f.flag)
		}
	}
	return nil
}

var semantic = regexp.MustCompile(`^v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})`)

// setVersion tells the version with its numbers apart if it has three, and as text if not.
func setVersion(n *corepb.Node, version string) {
	m := semantic.FindStringSubmatch(version)
	if m == nil {
		n.UserAgentVersionType = &corepb.Node_UserAgentVersion{UserAgentVersion: version}
		return
	}
	n.UserAgentVersionType = &corepb.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corepb.BuildVersion{
		Version:  &typepb.SemanticVersion{MajorNumber: number(m[1]), MinorNumber: number(m[2]), Patch: number(m[3])},
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"version": structpb.NewStringValue(version)}},
	}}
}

// number reads digits that fit.
func number(digits string) uint32 {
	n, _ := strconv.ParseUint(digits, 10, 32) // at most nine digits
	return uint32(n)
}

// JSON renders the bootstrap as it was read, without its secrets.
func (b *Bootstrap) JSON() ([]byte, error) { return redact.JSON(b.message) }
