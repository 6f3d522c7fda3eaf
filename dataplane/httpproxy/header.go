package httpproxy

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// class is what becomes of a field on its way through.
type class uint8

const (
	// pass: it goes through.
	pass class = iota
	// hop: it was for this connection only (RFC 9110, 7.6.1).
	hop
	connection
	upgrade
	te
	expect
	forwardedFor
	forwardedProto
	requestID
	// clientCert is told by us alone.
	clientCert
	// stranger: what only a proxy of ours may say; Envoy drops the same from clients.
	stranger
)

var names = map[string]class{
	"connection": connection, "keep-alive": hop, "proxy-connection": hop, "transfer-encoding": hop, "upgrade": upgrade,
	"te": te, "expect": expect, "x-forwarded-for": forwardedFor, "x-forwarded-proto": forwardedProto,
	"x-request-id": requestID, "x-forwarded-client-cert": clientCert,
	"x-envoy-internal": stranger, "x-envoy-external-address": stranger, "x-envoy-force-trace": stranger,
	"x-envoy-ip-tags": stranger, "x-envoy-upstream-rq-timeout-ms": stranger,
	"x-envoy-upstream-rq-per-try-timeout-ms": stranger, "x-envoy-expected-rq-timeout-ms": stranger,
	"x-envoy-retry-on": stranger, "x-envoy-retry-grpc-on": stranger, "x-envoy-max-retries": stranger,
	"x-envoy-retriable-status-codes": stranger, "x-envoy-retriable-header-names": stranger,
	"x-envoy-upstream-alt-stat-name": stranger, "x-envoy-original-url": stranger, "x-envoy-original-path": stranger,
	"x-envoy-original-host": stranger, "x-envoy-hedge-on-per-try-timeout": stranger,
	"x-envoy-decorator-operation": stranger, "x-envoy-downstream-service-cluster": stranger,
	"x-envoy-downstream-service-node": stranger, "x-envoy-upstream-stream-duration-ms": stranger,
}

// byLength are the names by their length, for a look at few of them.
var byLength = func() (t [40][]struct {
	name  string
	class class
}) {
	for name, c := range names {
		t[len(name)] = append(t[len(name)], struct {
			name  string
			class class
		}{name, c})
	}
	return t
}()

func classify(name string) class {
	if len(name) >= len(byLength) {
		return pass
	}
	for i := range byLength[len(name)] {
		if n := &byLength[len(name)][i]; message.EqualName(n.name, name) {
			return n.class
		}
	}
	return pass
}

// requestHeader makes the header that goes upstream out of the one that came, in its place.
func (x *exchange) requestHeader() *failure.Error {
	cfg, req := x.p.config, x.req
	kept := req.Header[:0]
	var connections, protocol, clients, proto, id, trailers = "", "", "", "", "", false
	nominates, unexpected := false, false
	for _, f := range req.Header {
		switch classify(f.Name) {
		case hop:
			continue
		case connection:
			switch {
			case http1.EqualToken(f.Value, "close"), http1.EqualToken(f.Value, "keep-alive"):
			case connections == "":
				connections, nominates = f.Value, true
			default:
				connections += "," + f.Value
			}
			continue
		case upgrade:
			if protocol != "" {
				protocol += "," + f.Value // a list, as Envoy has it
			} else {
				protocol = f.Value
			}
			continue
		case te:
			// RFC 9110, 10.1.4: of TE only "trailers" says something about who is beyond us.
			trailers = trailers || hasToken(f.Value, "trailers")
			continue
		case expect:
			// RFC 9110, 10.1.1. The codec sends the 100 when the body is wanted; nothing else is to be expected of us.
			unexpected = unexpected || !http1.EqualToken(f.Value, "100-continue")
			continue
		case forwardedFor:
			switch {
			case f.Value == "":
			case clients == "":
				clients = f.Value
			default:
				clients += "," + f.Value
			}
			continue
		case forwardedProto:
			if proto == "" {
				proto = f.Value
			}
			continue
		case requestID:
			if id == "" {
				id = f.Value
			}
			continue
		case clientCert:
			continue
		case stranger:
			if cfg.UseRemoteAddress {
				continue
			}
		}
		kept = append(kept, f)
	}
	req.Header = kept
	if unexpected {
		return failure.New(failure.ExpectationFailed, nil)
	}
	if nominates {
		if protocol != "" && hasToken(connections, "upgrade") && !http1.EqualToken(protocol, "h2c") {
			req.Upgrade = protocol
		}
		dropNominated(&req.Header, connections)
	}
	if trailers {
		req.Header.Add("te", "trailers")
	}
	x.forwarded(clients, proto)
	x.requestID(id)
	if x.c.Client != "" {
		x.req.Header.Add("x-forwarded-client-cert", x.c.Client)
	}
	return nil
}

// dropNominated drops the fields that Connection names (RFC 9110, 7.6.1).
func dropNominated(h *message.Header, connections string) {
	http1.EachToken(connections, func(token string) bool {
		if !http1.EqualToken(token, "content-length") {
			h.Del(token)
		}
		return true
	})
}

// forwarded says who the client is, and how it came, as Envoy does, save for x-envoy-external-address: no x-envoy-* is
// added (config.HTTP.SuppressEnvoyHeaders), and our control plane has Envoy take it off again.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for
func (x *exchange) forwarded(clients, proto string) {
	cfg, h := x.p.config, &x.req.Header
	peer := x.c.Peer.Addr().Unmap()
	x.record.Remote = x.trusted(clients, peer)
	if cfg.UseRemoteAddress {
		said := peer
		if peer.IsLoopback() {
			said = x.p.options.LocalAddress
		}
		// The client of a unix socket has no address: what is claimed stays as it is.
		if said.IsValid() {
			at := len(x.scratch)
			if clients != "" {
				x.scratch = append(x.scratch, clients...)
				x.scratch = append(x.scratch, ',')
			}
			x.scratch = said.AppendTo(x.scratch)
			clients = x.text(at)
		}
		if cfg.XffTrustedHops == 0 || proto == "" {
			proto = x.req.Scheme
		}
	} else if proto == "" {
		proto = x.req.Scheme
	}
	if clients != "" {
		h.Add("x-forwarded-for", clients)
	}
	h.Add("x-forwarded-proto", proto)
}

// trusted is the client: the peer, or what the last proxies that are trusted say.
func (x *exchange) trusted(clients string, peer netip.Addr) netip.AddrPort {
	cfg := x.p.config
	hops := int(cfg.XffTrustedHops)
	if !cfg.UseRemoteAddress {
		hops++
	}
	for ; hops > 0 && clients != ""; hops-- {
		last := clients
		if i := strings.LastIndexByte(clients, ','); i >= 0 {
			clients, last = clients[:i], clients[i+1:]
		} else {
			clients = ""
		}
		if hops > 1 {
			continue
		}
		if ip, err := netip.ParseAddr(strings.Trim(last, " \t")); err == nil {
			return netip.AddrPortFrom(ip.Unmap().WithZone(""), 0)
		}
	}
	return netip.AddrPortFrom(peer, x.c.Peer.Port())
}

// text is what was appended to scratch from there on. It stays as it is, even if scratch moves.
func (x *exchange) text(at int) string {
	b := x.scratch[at:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// requestID makes an id where there is none, and where it is a stranger's.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-request-id
func (x *exchange) requestID(id string) {
	cfg := x.p.config
	if cfg.GenerateRequestID && (id == "" || cfg.UseRemoteAddress && !cfg.PreserveRequestID) {
		at := len(x.scratch)
		x.scratch = appendUUID(x.scratch, rand.Uint64(), rand.Uint64())
		id = x.text(at)
	}
	if id != "" {
		x.req.Header.Add("x-request-id", id)
		x.record.RequestID = id
	}
}

// appendUUID writes a version 4 UUID (RFC 9562, 5.4).
func appendUUID(b []byte, hi, lo uint64) []byte {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	const digits = "0123456789abcdef"
	for i := range 16 {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		word, shift := hi, 56-8*i
		if i >= 8 {
			word, shift = lo, 56-8*(i-8)
		}
		c := byte(word >> shift)
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// cleanResponse takes out what was about the upstream's connection. The reason is left to the codec, as with Envoy.
func cleanResponse(res *message.Response) {
	res.Reason = ""
	kept := res.Header[:0]
	connections := ""
	for _, f := range res.Header {
		switch classify(f.Name) {
		case hop, upgrade:
			continue
		case connection:
			if !http1.EqualToken(f.Value, "close") && !http1.EqualToken(f.Value, "keep-alive") {
				connections += "," + f.Value
			}
			continue
		}
		kept = append(kept, f)
	}
	res.Header = kept
	if connections != "" {
		dropNominated(&res.Header, connections)
	}
}

// commonHeader adds what every answer has.
func (x *exchange) commonHeader(res *message.Response) {
	cfg := x.p.config
	if !res.Header.Has("date") {
		res.Header.Add("date", http1.Date())
	}
	if cfg.ServerName != "" && (cfg.ServerOverwrite || !res.Header.Has("server")) {
		res.Header.Set("server", cfg.ServerName)
	}
	if cfg.AlwaysSetRequestIDInResponse && x.record.RequestID != "" {
		res.Header.Set("x-request-id", x.record.RequestID)
	}
	if x.cookie != "" {
		// As with Envoy: also with an answer of our own, when the endpoint that was chosen has failed.
		res.Header.Add("set-cookie", x.cookie)
	}
}

// informational passes a 1xx on. What cannot be sent is dropped: the final answer follows.
func (x *exchange) informational(res *message.Response) {
	cleanResponse(res)
	_ = x.s.Respond(res, false)
}

func (x *exchange) elapsed() time.Duration { return time.Since(x.start) }
