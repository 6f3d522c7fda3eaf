package xdstest

import (
	"slices"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// NodeWithout is the node of an Envoy 1.30.1 that was built with all extensions that are linked in here, but for some types.
func NodeWithout(id, fleet string, types ...string) *corepb.Node {
	n := Node(id, fleet)
	n.UserAgentName, n.UserAgentVersionType = "envoy", &corepb.Node_UserAgentVersion{UserAgentVersion: "1.30.1"}
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		if name := string(m.Descriptor().FullName()); !slices.Contains(types, name) {
			n.Extensions = append(n.Extensions, &corepb.Extension{TypeUrls: []string{name}})
		}
		return true
	})
	return n
}
