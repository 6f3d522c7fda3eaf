package config

// Validation says whose certificates are taken. Without Authorities it is not whole.
type Validation struct {
	Name string
	// Authorities are certificates in PEM, one of which must stand at the end of a chain.
	Authorities []byte
	// Names are those that a certificate must be for one of; none is any.
	Names []AltName
}

// Trust says where a Validation comes from: what stands in the resource itself, and what a secret adds to it.
type Trust struct {
	// Name is one in Config.Validations, by SDS; empty is none.
	Name string
	// Own stands in the resource; nil is nothing.
	Own *Validation
}

// Clients says which certificates clients must show.
type Clients struct {
	Trust
	// Optional takes clients that show none.
	Optional bool
}

// AltNameKind is the kind of a name in a certificate.
type AltNameKind int

// The kinds of names.
const (
	AltDNS AltNameKind = iota
	AltURI
	AltEmail
	AltIP
)

// AltName is a name in a certificate. An exact AltDNS is also what a certificate's wildcard covers, of one label.
type AltName struct {
	Kind AltNameKind
	Text
}

// ForwardClient is what of a client's certificate stands in X-Forwarded-Client-Cert, beside its Hash.
type ForwardClient struct{ Subject, DNS, URI bool }

// UpstreamTLS is how endpoints are spoken to.
type UpstreamTLS struct {
	// ServerName is the SNI; empty sends none.
	ServerName string
	// Trust says whose certificates are taken; nil takes any.
	Trust *Trust
	// CertificateName is a name in Config.Certificates, by SDS, and Certificate stands in the cluster itself. It is shown to endpoints
	// that ask for one; without either none is.
	CertificateName string
	Certificate     *Certificate
	// ALPN in order of preference; empty is by what is spoken: "h2", "http/1.1", or none for TCP.
	ALPN []string
	// MinVersion and MaxVersion are crypto/tls version numbers; 0 is TLS 1.2 for both, Envoy's defaults towards endpoints.
	MinVersion, MaxVersion uint16
}
