package identity

// access is what a method asks of its caller. The zero value refuses everybody.
type access int

const (
	_ access = iota
	// byNode is a stream of a proxy, whose node is held against its certificate when it is told (AuthorizeProxy).
	byNode
	// byJoinToken is for who has no certificate yet: the method itself wants a join token.
	byJoinToken
	// byCertificate is for a proxy with a certificate; the method itself asks which (Guard.Proxy).
	byCertificate
	// read and write are for people and their tools.
	read
	write
)

// methods are all that may be called, with what they ask. A method that is not here is refused, so who adds one must
// think of it.
var methods = map[string]access{
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": byNode,
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":  byNode,

	"/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus": read,
	"/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus":  read,

	"/sluice.admin.v1.AdminService/Status":      read,
	"/sluice.admin.v1.AdminService/Wait":        read,
	"/sluice.admin.v1.AdminService/Explain":     read,
	"/sluice.admin.v1.AdminService/WatchStatus": read,

	"/sluice.admin.v1.DefinitionService/Plan":     read,
	"/sluice.admin.v1.DefinitionService/List":     read,
	"/sluice.admin.v1.DefinitionService/Describe": read,
	"/sluice.admin.v1.DefinitionService/History":  read,
	"/sluice.admin.v1.DefinitionService/Undo":     write,

	"/sluice.admin.v1.IdentityService/CreateToken": write,
	"/sluice.admin.v1.IdentityService/RevokeToken": write,
	"/sluice.admin.v1.IdentityService/ListTokens":  read,
	"/sluice.admin.v1.IdentityService/RevokeProxy": write,
	"/sluice.admin.v1.IdentityService/ListRevoked": read,

	"/sluice.admin.v1.IdentityService/RotateAuthority": write,
	"/sluice.admin.v1.IdentityService/GetAuthority":    read,
	"/sluice.admin.v1.IdentityService/Enroll":          byJoinToken,
	"/sluice.admin.v1.IdentityService/Renew":           byCertificate,
}
