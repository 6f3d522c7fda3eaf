package decode

import (
	"fmt"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/redact"
)

// Dump renders a resource as JSON with "@type", for a config dump. Secrets read "[redacted]"; typeURL is for a resource
// that came without one, and may be empty.
func Dump(typeURL string, r *anypb.Any) ([]byte, error) {
	if r.GetTypeUrl() == "" {
		r = &anypb.Any{TypeUrl: typeURL, Value: r.GetValue()}
	}
	text, err := redact.JSON(r)
	if err != nil {
		return nil, fmt.Errorf("decode: dump %s: %w", r.GetTypeUrl(), err)
	}
	return text, nil
}
