package httpproxy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
)

// pick chooses an endpoint. Only a cluster that hashes costs the work of it.
func (x *exchange) pick(c *cluster.Cluster) *cluster.Endpoint {
	if !c.Hashes() {
		return c.Pick()
	}
	hash, found := x.hash(c.Config.HashOn)
	if !found {
		return c.Pick()
	}
	return c.PickBy(hash)
}

// hash is what the request is known by: the hashes of all keys that it has, combined in their order. False: it has none.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-hashpolicy
func (x *exchange) hash(keys []config.HashKey) (hash uint64, found bool) {
	for i := range keys {
		if next, ok := x.hashOf(&keys[i]); ok {
			hash, found = balance.Combine(hash, next), true
		}
		if found && keys[i].Terminal {
			break
		}
	}
	return hash, found
}

func (x *exchange) hashOf(k *config.HashKey) (uint64, bool) {
	switch k.Kind {
	case config.HashHeader:
		return x.hashHeader(k.Name)
	case config.HashCookie:
		value := cookie(x.req.Header, k.Name)
		if value == "" && k.MakeCookie {
			value = x.makeCookie(k)
		}
		return balance.HashText(value), value != ""
	case config.HashQueryParam:
		value, ok := route.QueryValue(x.req.Path, k.Name)
		return balance.HashText(value), ok
	default:
		// The client of a unix socket has none.
		return balance.HashAddress(x.record.Remote.Addr()), x.record.Remote.IsValid()
	}
}

// hashHeader hashes all values of a name, in their own order: whose lines come in another order is known by the same.
func (x *exchange) hashHeader(name string) (uint64, bool) {
	if name == "host" || name == ":authority" {
		return balance.HashText(x.req.Authority), x.req.Authority != ""
	}
	var few [8]string
	values := few[:0]
	for i := range x.req.Header {
		if f := &x.req.Header[i]; message.EqualName(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	slices.Sort(values)
	return balance.HashTexts(values), len(values) > 0
}

// cookie is the value of the first cookie of a name; "" is none. It may stand in quotes (RFC 6265, 4.1.1).
func cookie(h message.Header, name string) string {
	for i := range h {
		if !message.EqualName(h[i].Name, "cookie") {
			continue
		}
		for rest := h[i].Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			key, value, ok := strings.Cut(strings.TrimLeft(pair, " "), "=")
			if !ok || key != name {
				continue
			}
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value
		}
	}
	return ""
}

// makeCookie makes the cookie by which the client will be known, and has the answer set it. As with Envoy its value is
// the hash of the connection: what comes on it before the client has the cookie goes to the same endpoint.
func (x *exchange) makeCookie(k *config.HashKey) string {
	at := len(x.scratch)
	x.scratch = x.record.Remote.AppendTo(x.scratch)
	x.scratch = x.c.Local.AppendTo(x.scratch)
	value := hex16(balance.HashText(x.text(at)))
	var b strings.Builder
	b.WriteString(k.Name + `="` + value + `"`)
	if k.TTL > 0 {
		b.WriteString("; Max-Age=" + strconv.FormatInt(int64(k.TTL/time.Second), 10))
	}
	if k.Path != "" {
		b.WriteString("; Path=" + k.Path)
	}
	b.WriteString("; HttpOnly")
	x.cookie = b.String()
	return value
}

// hex16 is a number in 16 digits.
func hex16(n uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[n>>(60-4*i)&15]
	}
	return string(b[:])
}
