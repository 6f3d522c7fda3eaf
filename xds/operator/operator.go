// Package operator reads texts with Envoy's command operators, such as "%REQ(X-A?X-B):10%", for access logs and for values
// of headers.
//
// In: a text. Out: its parts, or why it has none. It must not know what an operator yields, nor of which exchange.
package operator

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Part is a piece of a text: literal, or an operator.
type Part struct {
	Literal string
	// Name is the operator's; empty is a literal.
	Name string
	// Arg is what stands in its parentheses: of REQ and RESP a header's name in lower case, and Alt another for when that
	// is not there; of START_TIME a layout for time.Format; else empty.
	Arg, Alt string
	// Max cuts what it yields, in bytes: %REQ(X):10%. 0 is no limit.
	Max int
}

const (
	startTime = "START_TIME"
	request   = "REQ"
	response  = "RESP"
)

// OfRequest are the operators that a request's headers may be changed by, sorted: what is known by then, on both kinds of
// proxy alike.
var OfRequest = []string{
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS",
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_ADDRESS",
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_TLS_VERSION", "PROTOCOL", request,
	"REQUESTED_SERVER_NAME", "ROUTE_NAME", startTime, "UPSTREAM_CLUSTER",
}

// OfResponse are those that an answer's headers may be changed by, sorted. RESPONSE_CODE is none of them: in an answer of its own
// Envoy has 0 for it. RESP(:status) is the same for both.
var OfResponse = sorted(append([]string{response, "RESPONSE_FLAGS", "UPSTREAM_HOST"}, OfRequest...))

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// Parse reads "…%OP(ARG):LEN%…"; "%%" is a percent sign. It refuses operators that are not of a list.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
func Parse(s string, of []string) ([]Part, error) {
	var parts []Part
	for s != "" {
		before, rest, found := strings.Cut(s, "%")
		if before != "" {
			parts = append(parts, Part{Literal: before})
		}
		if !found {
			break
		}
		if strings.HasPrefix(rest, "%") {
			parts = append(parts, Part{Literal: "%"})
			s = rest[1:]
			continue
		}
		command, after, found := cutCommand(rest)
		if !found {
			return nil, fmt.Errorf("got %q without its closing %%, want %%%% for a %%", "%"+rest)
		}
		p, err := parseCommand(command)
		switch {
		case !slices.Contains(of, p.Name):
			return nil, fmt.Errorf("got the operator %%%s%%, want %%%% for a %%, or one of %s", p.Name, strings.Join(of, ", "))
		case err != nil:
			return nil, err
		}
		parts = append(parts, p)
		s = after
	}
	return parts, nil
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

func parseCommand(command string) (Part, error) {
	p, whole := Part{Name: command}, command
	arg, hasArg := "", false
	if open := strings.IndexByte(command, '('); open >= 0 {
		end := strings.LastIndexByte(command, ')')
		if end < open {
			return p, fmt.Errorf("got %%%s%%, want a closing ')'", command)
		}
		p.Name, arg, hasArg = command[:open], command[open+1:end], true
		command = p.Name + command[end+1:]
	}
	if colon := strings.IndexByte(command, ':'); colon >= 0 {
		length := command[colon+1:]
		n, err := strconv.ParseUint(length, 10, 31) // no sign: Envoy takes digits alone
		switch p.Name = command[:colon]; {
		case p.Name != request && p.Name != response:
			return p, fmt.Errorf("got the length %q in %%%s%%, want none: %s and %s alone take one", length, whole, request, response)
		case err != nil || n == 0:
			return p, fmt.Errorf("got the length %q in %%%s%%, want 1 to 2147483647", length, whole)
		}
		p.Max = int(n)
	} else if command != p.Name {
		return p, fmt.Errorf("got %q after %%%s(%s), want a closing %%", command[len(p.Name):], p.Name, arg)
	}
	var err error
	switch {
	case p.Name == startTime:
		p.Arg, err = timeLayout(arg)
	case p.Name == request || p.Name == response:
		if !hasArg || !headers.MatchString(arg) {
			return p, fmt.Errorf("got %%%s(%s)%%, want a header's name in the parentheses, or two: %%%s(x-a?x-b)%%", p.Name, arg, p.Name)
		}
		first, second, _ := strings.Cut(arg, "?")
		p.Arg, p.Alt = strings.ToLower(first), strings.ToLower(second)
	case hasArg:
		err = fmt.Errorf("got %%%s(%s)%%, want %%%s%%", p.Name, arg, p.Name)
	}
	return p, err
}

// headers are one or two names (RFC 9110, 5.6.2), or pseudo-headers.
var headers = regexp.MustCompile("^:?[A-Za-z0-9!#$&'*+.^_`|~-]+([?]:?[A-Za-z0-9!#$&'*+.^_`|~-]+)?$")
