// Package format writes texts with what is known of an exchange: lines of access logs, and values of headers.
//
// In: parts, as decode has read them, and the Record of an exchange. Out: text. It must not know what the text is for.
package format

import (
	"net/netip"
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Value is what an operator yields: text, or a number that JSON writes without quotes, or nothing.
type Value struct {
	Text    string
	Number  int64
	Numeric bool
	Missing bool
}

// Append writes what the operators yield between the literals; where one yields nothing, missing stands.
func Append(b []byte, parts []config.Part, r *Record, missing string) []byte {
	for i := range parts {
		p := &parts[i]
		if p.Name == "" {
			b = append(b, p.Literal...)
			continue
		}
		switch v := Of(p, r); {
		case v.Numeric:
			b = strconv.AppendInt(b, v.Number, 10)
		case v.Missing:
			b = append(b, missing...)
		default:
			b = append(b, v.Text...)
		}
	}
	return b
}

// Operators are those that Of knows, sorted.
var Operators = []string{
	"BYTES_RECEIVED", "BYTES_SENT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
	"DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_ADDRESS",
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_TLS_VERSION", "DURATION",
	"FILTER_CHAIN_NAME", "PROTOCOL", "REQ", "REQUESTED_SERVER_NAME", "RESP", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS",
	"RESPONSE_FLAGS", "ROUTE_NAME", "START_TIME", "UPSTREAM_CLUSTER", "UPSTREAM_HOST",
	"UPSTREAM_REQUEST_ATTEMPT_COUNT",
}

// Of is what an operator yields of a record; nothing, if it is not known.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
func Of(p *config.Part, r *Record) Value {
	v, _ := of(p, r)
	if p.Max > 0 && len(v.Text) > p.Max {
		v.Text = v.Text[:p.Max]
	}
	return v
}

func of(p *config.Part, r *Record) (v Value, known bool) {
	switch p.Name {
	case "START_TIME":
		return Value{Text: r.Start.UTC().Format(p.Arg)}, true
	case "REQ":
		return requestHeader(p, r.Request), true
	case "RESP":
		return responseHeader(p, r.Response), true
	case "PROTOCOL":
		if r.Request == nil {
			return Value{Missing: true}, true
		}
		return text(r.Request.Proto.String()), true
	case "RESPONSE_CODE":
		return number(int64(r.Status)), true
	case "RESPONSE_CODE_DETAILS":
		return text(r.Details), true
	case "RESPONSE_FLAGS":
		if r.Flags == "" {
			return Value{Text: "-"}, true
		}
		return Value{Text: r.Flags}, true
	case "UPSTREAM_REQUEST_ATTEMPT_COUNT":
		return number(int64(r.Attempts)), true
	case "BYTES_RECEIVED":
		return number(r.BytesReceived), true
	case "BYTES_SENT":
		return number(r.BytesSent), true
	case "DURATION":
		return number(r.Duration.Milliseconds()), true
	case "ROUTE_NAME":
		return text(r.Route), true
	case "UPSTREAM_CLUSTER":
		return text(r.Cluster), true
	case "UPSTREAM_HOST":
		return text(r.Upstream), true
	case "REQUESTED_SERVER_NAME":
		return text(r.SNI), true
	case "DOWNSTREAM_TLS_VERSION":
		return text(r.TLSVersion), true
	case "FILTER_CHAIN_NAME":
		return text(r.Chain), true
	}
	return ofAddresses(p.Name, r)
}

func ofAddresses(name string, r *Record) (v Value, known bool) {
	switch name {
	case "DOWNSTREAM_REMOTE_ADDRESS":
		return address(r.Remote, r), true
	case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
		return host(r.Remote, r), true
	case "DOWNSTREAM_REMOTE_PORT":
		return port(r.Remote), true
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		return address(r.Peer, r), true
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
		return host(r.Peer, r), true
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return address(r.Local, r), true
	case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":
		return host(r.Local, r), true
	case "DOWNSTREAM_LOCAL_PORT":
		return port(r.Local), true
	}
	return Value{Missing: true}, false
}

func text(s string) Value { return Value{Text: s, Missing: s == ""} }

func number(n int64) Value { return Value{Number: n, Numeric: true} }

// address is an address, or the unix socket that stands for it.
func address(a netip.AddrPort, r *Record) Value {
	if !a.IsValid() {
		return text(r.Socket)
	}
	return Value{Text: a.String()}
}

func host(a netip.AddrPort, r *Record) Value {
	if !a.IsValid() {
		return text(r.Socket)
	}
	return Value{Text: a.Addr().Unmap().String()}
}

func port(a netip.AddrPort) Value {
	if !a.IsValid() {
		return Value{Missing: true}
	}
	return number(int64(a.Port()))
}

// requestHeader is a header's first line, or another's if it has none.
func requestHeader(p *config.Part, r *message.Request) Value {
	if r == nil {
		return Value{Missing: true}
	}
	for _, name := range [...]string{p.Arg, p.Alt} {
		if name == "" {
			continue
		}
		if v, ok := pseudo(r, name); ok {
			return text(v)
		}
		if v, ok := r.Header.Get(name); ok {
			return text(v)
		}
	}
	return Value{Missing: true}
}

func pseudo(r *message.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":authority", "host":
		return r.Authority, true
	case ":scheme":
		return r.Scheme, true
	}
	return "", false
}

func responseHeader(p *config.Part, r *message.Response) Value {
	if r == nil {
		return Value{Missing: true}
	}
	for _, name := range [...]string{p.Arg, p.Alt} {
		if name == ":status" {
			return Value{Text: strconv.Itoa(r.Status)}
		}
		if v, ok := r.Header.Get(name); ok {
			return text(v)
		}
	}
	return Value{Missing: true}
}
