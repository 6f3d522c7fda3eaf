package compile

import (
	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// proxyHeader is what a listener wants of the PROXY protocol.
func proxyHeader(l *sluicev1.Listener) ir.ProxyHeader {
	switch p := l.GetProxyProtocol(); {
	case p == nil:
		return ir.ProxyHeaderNone
	case p.GetOptional():
		return ir.ProxyHeaderOptional
	}
	return ir.ProxyHeaderRequired
}

// wording is for people.
var wording = map[ir.ProxyHeader]string{
	ir.ProxyHeaderNone:     "no PROXY protocol",
	ir.ProxyHeaderRequired: "PROXY protocol",
	ir.ProxyHeaderOptional: "optional PROXY protocol",
}

// proxyVersions are the versions of the header that a Service gets; none is 0.
var proxyVersions = map[sluicev1.Service_ProxyProtocol]int{sluicev1.Service_V1: 1, sluicev1.Service_V2: 2}
