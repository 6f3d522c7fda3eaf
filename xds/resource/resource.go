// Package resource names what xDS carries: type URLs, their short names, and the order in which they are pushed.
//
// It must not know any resource's contents, and imports nothing of ours.
package resource

// Type URLs of the resources that Sluice serves and reads.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#resource-types
const (
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	// VirtualHostType is for delta only: state of the world has a table's hosts in its RouteConfiguration.
	VirtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
)

// SourceKey is the filter state that holds the client's address, for routes that ask for it: a filter of the connection sets
// it, RouteMatch.filter_state reads it.
const SourceKey = "sluice.source"

// SourceFormat is what is set there, in Envoy's words.
const SourceFormat = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"

// Type is one resource type.
type Type struct {
	// URL is the type URL.
	URL string
	// Short is the name for people: CDS, EDS, SDS, LDS, RDS, VHDS.
	Short string
	// LegacyWildcard: an empty first subscription means all (rule 6).
	LegacyWildcard bool
	// FullState: in state-of-the-world a response is all there is, and absence deletes (rule 8).
	FullState bool
}

// PushOrder is make before break: what is referred to goes before what refers to it. Removals go in the reverse order,
// after the additions of all types (rule 12).
var PushOrder = []Type{
	{URL: ClusterType, Short: "CDS", LegacyWildcard: true, FullState: true},
	{URL: EndpointType, Short: "EDS"},
	{URL: SecretType, Short: "SDS"},
	{URL: ListenerType, Short: "LDS", LegacyWildcard: true, FullState: true},
	{URL: RouteType, Short: "RDS"},
	{URL: VirtualHostType, Short: "VHDS", LegacyWildcard: true},
}

// ByURL finds a type by its URL.
func ByURL(url string) (Type, bool) {
	for _, t := range PushOrder {
		if t.URL == url {
			return t, true
		}
	}
	return Type{}, false
}

// ByShort finds a type by its short name, in upper case.
func ByShort(short string) (Type, bool) {
	for _, t := range PushOrder {
		if t.Short == short {
			return t, true
		}
	}
	return Type{}, false
}
