package translate

import (
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// headerChanges are Envoy's two lists: it removes first, and then adds in the order written.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#custom-request-response-headers
func headerChanges(c *ir.HeaderChanges) (remove []string, add []*corepb.HeaderValueOption) {
	if c == nil {
		return nil, nil
	}
	for _, h := range c.Set {
		add = append(add, headerValue(h, corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	for _, h := range c.Add {
		add = append(add, headerValue(h, corepb.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
	}
	return c.Remove, add
}

func headerValue(h ir.HeaderValue, action corepb.HeaderValueOption_HeaderAppendAction) *corepb.HeaderValueOption {
	return &corepb.HeaderValueOption{Header: &corepb.HeaderValue{Key: h.Name, Value: h.Value}, AppendAction: action}
}

// contentType goes before a rule's own changes. Envoy has no field of a direct response for it, and a % in a value is an
// operator's.
func contentType(value string) *corepb.HeaderValueOption {
	return headerValue(ir.HeaderValue{Name: "content-type", Value: strings.ReplaceAll(value, "%", "%%")}, corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
}
