package accesslog

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// value is what an operator yields: text, or a number that JSON writes without quotes. Missing is "-" in text and
// null in JSON, as Envoy has it.
type value struct {
	text    string
	number  int64
	numeric bool
	missing bool
}

type operator func(r *Record) value

// part is a piece of a format: literal text, or an operator.
type part struct {
	literal string
	op      operator
	// max cuts a text: %REQ(X):10%. 0 is no limit.
	max int
}

func text(s string) value {
	if s == "" {
		return value{missing: true}
	}
	return value{text: s}
}

func number(n int64) value { return value{number: n, numeric: true} }

func address(a netip.AddrPort, r *Record) value {
	if !a.IsValid() {
		return text(r.Socket)
	}
	return value{text: a.String()}
}

func host(a netip.AddrPort, r *Record) value {
	if !a.IsValid() {
		return text(r.Socket)
	}
	return value{text: a.Addr().Unmap().String()}
}

// plain are the operators without an argument.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
var plain = map[string]operator{
	"PROTOCOL": func(r *Record) value {
		if r.Request == nil {
			return value{missing: true}
		}
		return text(r.Request.Proto.String())
	},
	"RESPONSE_CODE":         func(r *Record) value { return number(int64(r.Status)) },
	"RESPONSE_CODE_DETAILS": func(r *Record) value { return text(r.Details) },
	"RESPONSE_FLAGS": func(r *Record) value {
		if r.Flags == "" {
			return value{text: "-"}
		}
		return value{text: r.Flags}
	},
	"BYTES_RECEIVED":                         func(r *Record) value { return number(r.BytesReceived) },
	"BYTES_SENT":                             func(r *Record) value { return number(r.BytesSent) },
	"DURATION":                               func(r *Record) value { return number(r.Duration.Milliseconds()) },
	"ROUTE_NAME":                             func(r *Record) value { return text(r.Route) },
	"UPSTREAM_CLUSTER":                       func(r *Record) value { return text(r.Cluster) },
	"UPSTREAM_HOST":                          func(r *Record) value { return text(r.Upstream) },
	"DOWNSTREAM_REMOTE_ADDRESS":              func(r *Record) value { return address(r.Remote, r) },
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": func(r *Record) value { return host(r.Remote, r) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":       func(r *Record) value { return address(r.Peer, r) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": func(r *Record) value { return host(r.Peer, r) },
	"DOWNSTREAM_LOCAL_ADDRESS":                      func(r *Record) value { return address(r.Local, r) },
	"DOWNSTREAM_LOCAL_PORT": func(r *Record) value {
		if !r.Local.IsValid() {
			return value{missing: true}
		}
		return number(int64(r.Local.Port()))
	},
	"REQUESTED_SERVER_NAME":  func(r *Record) value { return text(r.SNI) },
	"DOWNSTREAM_TLS_VERSION": func(r *Record) value { return text(r.TLSVersion) },
	"FILTER_CHAIN_NAME":      func(r *Record) value { return text(r.Chain) },
}

func (f *format) add(p part) { f.parts = append(f.parts, p) }

// format is a compiled string of literals and operators.
type format struct{ parts []part }

// parse compiles "…%OP(ARG):LEN%…". "%%" is a percent sign.
func parse(s string) (*format, error) {
	f := &format{}
	for s != "" {
		before, rest, found := strings.Cut(s, "%")
		if before != "" {
			f.add(part{literal: before})
		}
		if !found {
			break
		}
		if strings.HasPrefix(rest, "%") {
			f.add(part{literal: "%"})
			s = rest[1:]
			continue
		}
		command, after, found := cutCommand(rest)
		if !found {
			return nil, fmt.Errorf("got %q without its closing %%", "%"+rest)
		}
		p, err := parseCommand(command)
		if err != nil {
			return nil, err
		}
		f.add(p)
		s = after
	}
	return f, nil
}

// cutCommand ends at the first '%' outside parentheses: %START_TIME(%Y-%m-%d)% has some inside.
func cutCommand(s string) (command, after string, found bool) {
	depth := 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '%' && depth <= 0:
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func parseCommand(command string) (part, error) {
	p := part{}
	name, arg := command, ""
	hasArg := false
	if open := strings.IndexByte(command, '('); open >= 0 {
		end := strings.LastIndexByte(command, ')')
		if end < open {
			return p, fmt.Errorf("got %%%s%%, want a closing ')'", command)
		}
		name, arg, hasArg = command[:open], command[open+1:end], true
		command = name + command[end+1:]
	}
	if colon := strings.IndexByte(command, ':'); colon >= 0 {
		n, err := strconv.Atoi(command[colon+1:])
		if err != nil || n <= 0 {
			return p, fmt.Errorf("got the length %q in %%%s%%, want a number above 0", command[colon+1:], command)
		}
		p.max = n
		name = command[:colon]
	}
	switch {
	case name == "START_TIME":
		layout, err := timeLayout(arg)
		if err != nil {
			return p, err
		}
		p.op = func(r *Record) value { return value{text: r.Start.UTC().Format(layout)} }
	case name == "REQ" && hasArg:
		p.op = headerOperator(arg, func(r *Record) (message.Header, func(string) (string, bool)) {
			if r.Request == nil {
				return nil, nil
			}
			return r.Request.Header, func(pseudo string) (string, bool) { return requestPseudo(r.Request, pseudo) }
		})
	case name == "RESP" && hasArg:
		p.op = headerOperator(arg, func(r *Record) (message.Header, func(string) (string, bool)) {
			if r.Response == nil {
				return nil, nil
			}
			return r.Response.Header, func(pseudo string) (string, bool) {
				return strconv.Itoa(r.Response.Status), pseudo == ":status"
			}
		})
	case plain[name] != nil && !hasArg:
		p.op = plain[name]
	default:
		return p, fmt.Errorf("got the operator %%%s%%: not supported by sluice-proxy", name)
	}
	return p, nil
}

// headerOperator is %REQ(X?Y)%: X, or Y if X is not there.
func headerOperator(arg string, of func(*Record) (message.Header, func(string) (string, bool))) operator {
	first, second, _ := strings.Cut(arg, "?")
	names := []string{strings.ToLower(first)}
	if second != "" {
		names = append(names, strings.ToLower(second))
	}
	return func(r *Record) value {
		header, pseudo := of(r)
		for _, name := range names {
			if strings.HasPrefix(name, ":") {
				if pseudo != nil {
					if v, ok := pseudo(name); ok {
						return text(v)
					}
				}
			} else if v, ok := header.Get(name); ok {
				return text(v)
			}
		}
		return value{missing: true}
	}
}

func requestPseudo(r *message.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":authority":
		return r.Authority, true
	case ":scheme":
		return r.Scheme, true
	}
	return "", false
}

// timeLayout turns strftime's specifiers into Go's. Empty is Envoy's default, ISO 8601 with milliseconds.
func timeLayout(strftime string) (string, error) {
	if strftime == "" {
		return "2006-01-02T15:04:05.000Z07:00", nil
	}
	specifiers := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'T': "15:04:05", 'F': "2006-01-02",
		'b': "Jan", 'z': "-0700", 'Z': "MST", 'y': "06", 'e': "_2", 'p': "PM", 'I': "03", 'a': "Mon",
	}
	var out strings.Builder
	for i := 0; i < len(strftime); i++ {
		c := strftime[i]
		if c != '%' {
			out.WriteByte(c)
			continue
		}
		i++
		// %3f and its like are digits of the second's fraction.
		if i+1 < len(strftime) && strftime[i] >= '1' && strftime[i] <= '9' && strftime[i+1] == 'f' {
			// Go's layout needs a '.' or ',' before the zeros; Envoy's formats have one.
			out.WriteString(strings.Repeat("0", int(strftime[i]-'0')))
			i++
			continue
		}
		if i == len(strftime) || specifiers[strftime[i]] == "" {
			return "", fmt.Errorf("got the time format %q: %%%s is not supported by sluice-proxy", strftime, strftime[min(i, len(strftime)):min(i+1, len(strftime))])
		}
		out.WriteString(specifiers[strftime[i]])
	}
	return out.String(), nil
}

// appendText writes the format's text.
func (f *format) appendText(b []byte, r *Record) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		if p.op == nil {
			b = append(b, p.literal...)
			continue
		}
		v := p.op(r)
		switch {
		case v.numeric:
			b = strconv.AppendInt(b, v.number, 10)
		case v.missing:
			b = append(b, '-')
		default:
			b = appendClean(b, cut(v.text, p.max))
		}
	}
	return b
}

func cut(s string, limit int) string {
	if limit > 0 && len(s) > limit {
		return s[:limit]
	}
	return s
}

// appendClean keeps a stranger's bytes from ending a log line or from steering a terminal.
func appendClean(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
