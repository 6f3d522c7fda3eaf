package assemble

import (
	"fmt"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/decode"
)

// usableCertificate reads a secret, and refuses one that no handshake could use: the control plane is told, instead of
// the clients.
func usableCertificate(raw *anypb.Any) (*config.Certificate, error) {
	c, err := decode.Certificate(raw)
	if err != nil {
		return nil, err
	}
	if _, err := certs.Parse(c); err != nil {
		return nil, fmt.Errorf("secret %q: tls_certificate: %w", c.Name, err)
	}
	return c, nil
}
