package ir

// TrustBundle is the certificates of authorities, in PEM.
type TrustBundle struct {
	Name        string
	Authorities []byte
}

// Validation says whose certificates are taken.
type Validation struct {
	// TrustBundle is the name of one of the Fleet's.
	TrustBundle string
	// Names are those that a certificate must be for one of; none is any.
	Names []AltName
}

// Clients says which certificates clients must show.
type Clients struct {
	Validation
	// Optional takes clients without one.
	Optional bool
}

// AltNameKind is the kind of a name in a certificate.
type AltNameKind int

// The kinds of names.
const (
	AltDNS AltNameKind = iota
	AltURI
	AltEmail
)

// AltName is a name in a certificate. Text is TextExact or TextPrefix.
type AltName struct {
	Kind AltNameKind
	Text
}

// UpstreamTLS is how endpoints are spoken to.
type UpstreamTLS struct {
	// ServerName is the SNI; empty sends none.
	ServerName string
	// Validation says whose certificates are taken; nil takes any.
	Validation *Validation
	// Certificate is the name of the Certificate to show; empty shows none.
	Certificate string
}
