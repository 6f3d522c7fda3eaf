package compile

import (
	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// retry is nil where nothing is sent again. The message is checked, and has its defaults: no duration or size is malformed.
func retry(m *sluicev1.Retry) *ir.Retry {
	if m == nil || m.GetDisabled() {
		return nil
	}
	body, _ := definition.ParseSize(m.GetBodyBytes())
	return &ir.Retry{
		Conditions: m.GetConditions(), StatusCodes: m.GetStatusCodes(), Attempts: m.GetAttempts(),
		PerTryTimeout: lasting(m.GetPerTryTimeout()),
		BackOffBase:   lasting(m.GetBackOff().GetBase()), BackOffMax: lasting(m.GetBackOff().GetMax()),
		SameEndpoint: m.GetSameEndpoint(), NonIdempotent: m.GetNonIdempotent(), BodyBytes: body,
	}
}
