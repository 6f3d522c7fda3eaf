package definition

import (
	"fmt"
	"net/netip"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

func checkGateway(g *sluicev1.Gateway, report reporter) {
	names := map[string]int{}
	for i, l := range g.GetListeners() {
		at := itemPath("listeners", i)
		if first, ok := names[l.GetName()]; ok && l.GetName() != "" {
			report(at+".name", CodeDuplicateName, fmt.Sprintf("got %s, which listeners[%d] is named already, want a name of its own", l.GetName(), first))
		} else {
			names[l.GetName()] = i
		}
		checkHosts(l.GetHosts(), at+".hosts", report)
		checkDuration(l.GetIdleTimeout(), at+".idleTimeout", report)
		checkWeights(l.GetBackends(), at+".backends", report)
		checkBind(l.GetAddress(), at+".address", report)
		checkSocket(l, at, report)
		checkLimits(l.GetLimits(), at+".limits", report)
		checkShape(l, at, report)
	}
}

// Envoy takes headers of 1 KiB to 8 MiB.
const leastHeaderBytes, mostHeaderBytes = 1 << 10, 8 << 20

func checkLimits(l *sluicev1.Limits, at string, report reporter) {
	checkDuration(l.GetRequestHeadersTimeout(), at+".requestHeadersTimeout", report)
	checkDuration(l.GetRequestTimeout(), at+".requestTimeout", report)
	if text := l.GetHeaderBytes(); text != "" {
		if n, err := ParseSize(text); err != nil || n < leastHeaderBytes || n > mostHeaderBytes {
			report(at+".headerBytes", CodeInvalidValue, fmt.Sprintf("got %s, want 1Ki to 8Mi", text))
		}
	}
}

// checkBind looks for addresses that would be one socket under two names.
func checkBind(address, at string, report reporter) {
	parsed, err := netip.ParseAddr(address)
	switch {
	case err != nil: // none, or a rule has said it
	case parsed.Zone() != "":
		report(at, CodeBadAddress, fmt.Sprintf("got a zone in %q, want an IP address without one", address))
	case parsed.Is4In6():
		report(at, CodeBadAddress, fmt.Sprintf("got %q, want it as IPv4: %s", address, parsed.Unmap()))
	}
}

// checkSocket wants a port or a unix socket.
func checkSocket(l *sluicev1.Listener, at string, report reporter) {
	s := l.GetSocket()
	switch {
	case s == nil && l.GetPort() == 0:
		report(at+".port", CodeRequired, "got nothing, want a port, 1 to 65535, or a socket")
	case s == nil:
	case l.GetPort() != 0:
		report(at+".socket", CodeExclusive, "got both port and socket, want one of them")
	case l.GetAddress() != "":
		report(at+".socket", CodeExclusive, "got both address and socket, want one of them")
	case s.GetPath() == "": // a rule has said it
	default:
		if err := checkSocketPath(s.GetPath()); err != nil {
			report(at+".socket.path", CodeBadAddress, err.Error())
		} else if s.GetMode() != "" && strings.HasPrefix(s.GetPath(), "@") {
			report(at+".socket.mode", CodeListenerShape, "got a mode, want none: an abstract name has no permissions")
		}
	}
}

// checkShape looks for fields that a listener's protocol does not take, and those that it needs.
func checkShape(l *sluicev1.Listener, at string, report reporter) {
	unwanted := func(set bool, field, remedy string) {
		if set {
			report(at+"."+field, CodeListenerShape, fmt.Sprintf("got %s on a listener of protocol %s, want none%s", field, l.GetProtocol(), remedy))
		}
	}
	const (
		needsTLS  = ": only HTTPS and TLS take it"
		needsTCP  = ": only TCP and TLS take it; HTTP and HTTPS are served by Routes"
		needsHTTP = ": only HTTP and HTTPS take it"
	)
	// carries is for listeners of bytes.
	carries := func() {
		unwanted(l.GetRedirect() != nil, "redirect", needsHTTP)
		limits := l.GetLimits()
		unwanted(limits.GetHeaderBytes() != "", "limits.headerBytes", needsHTTP)
		unwanted(limits.GetHeaderCount() != 0, "limits.headerCount", needsHTTP)
		unwanted(limits.GetRequestHeadersTimeout() != "", "limits.requestHeadersTimeout", needsHTTP)
		unwanted(limits.GetRequestTimeout() != "", "limits.requestTimeout", needsHTTP)
		unwanted(limits.GetStreams() != 0, "limits.streams", needsHTTP)
		unwanted(limits.GetRequestsPerConnection() != 0, "limits.requestsPerConnection", needsHTTP)
		if len(l.GetBackends()) == 0 {
			report(at+".backends", CodeListenerShape, fmt.Sprintf("got nothing, want at least one: a listener of protocol %s carries bytes to its own backends", l.GetProtocol()))
		}
	}
	checkAltNames(l.GetClientCertificates().GetSubjectAltNames(), at+".clientCertificates.subjectAltNames", report)
	if c := l.GetClientCertificates(); c != nil {
		if len(l.GetCertificates()) == 0 {
			report(at+".clientCertificates", CodeListenerShape, "got clientCertificates on a listener without certificates, want none: only where TLS is terminated can clients show any")
		} else if c.GetForward() && l.GetProtocol() != sluicev1.Listener_HTTPS {
			unwanted(true, "clientCertificates.forward", ": only HTTPS has headers to tell it in")
		}
	}
	switch l.GetProtocol() {
	case sluicev1.Listener_HTTP:
		unwanted(len(l.GetCertificates()) > 0, "certificates", needsTLS)
		unwanted(l.GetStrictSni(), "strictSNI", needsTLS)
		unwanted(len(l.GetBackends()) > 0, "backends", needsTCP)
	case sluicev1.Listener_HTTPS:
		if len(l.GetCertificates()) == 0 {
			report(at+".certificates", CodeListenerShape, "got nothing, want at least one: a listener of protocol HTTPS needs a Certificate")
		}
		unwanted(len(l.GetBackends()) > 0, "backends", needsTCP)
	case sluicev1.Listener_TCP:
		unwanted(len(l.GetHosts()) > 0, "hosts", ": TCP shows no host; TLS does")
		unwanted(len(l.GetCertificates()) > 0, "certificates", needsTLS)
		unwanted(l.GetStrictSni(), "strictSNI", needsTLS)
		carries()
	case sluicev1.Listener_TLS:
		unwanted(l.GetStrictSni() && len(l.GetCertificates()) == 0, "strictSNI", " without certificates: what is passed through is chosen by hosts alone")
		carries()
	}
	checkNewPath(l.GetRedirect().GetPath(), at+".redirect.path", report)
	if l.GetRedirect().GetPathPrefix() != "" {
		report(at+".redirect.pathPrefix", CodeListenerShape, "got pathPrefix, want path: a listener's redirect has no match whose prefix could be replaced")
	}
	if redirectsToItself(l) {
		report(at+".redirect", CodeListenerShape, "got a redirect to the listener itself, want another scheme, host or port")
	}
}

// redirectsToItself: a client would follow the redirect back to it for ever.
func redirectsToItself(l *sluicev1.Listener) bool {
	r := l.GetRedirect()
	own := map[sluicev1.Listener_Protocol]string{sluicev1.Listener_HTTP: "http", sluicev1.Listener_HTTPS: "https"}[l.GetProtocol()]
	if r == nil || r.GetHost() != "" || (r.GetScheme() != "" && r.GetScheme() != own) {
		return false
	}
	port := r.GetPort()
	if port == 0 && r.GetScheme() != "" {
		port = map[string]uint32{"http": 80, "https": 443}[own]
	}
	return port == 0 || port == l.GetPort()
}
