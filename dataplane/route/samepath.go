package route

import (
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// scanned is how many rules are asked one by one: for so few a table of their headers costs more than it saves.
const scanned = 8

// samePath is rules of one path and kind, at least the first of which looks at headers. Read-only once built.
type samePath struct {
	// rules are their indices in order, up to the first one without headers: none behind it can match.
	rules []int32
	// byHeader is set if there are many of them: each rule that looks at headers stands in it once, under the line (in lower
	// case, and its value) that the fewest other rules ask for. So a request finds, by its own lines, the few rules that
	// may match, in a time that grows with how many rules ask for the same rarest line, and not with their number.
	byHeader map[string]map[string][]int32
	// lengths has bit n set if a name of n bytes is in byHeader, modulo 64: most lines need no more than a look at it.
	lengths uint64
	// last is the rule without headers that ends rules, or none.
	last int32
}

func newSamePath(all []Rule, rules []int32) samePath {
	s := samePath{last: none}
	for i, rule := range rules {
		if len(all[rule].Match.Headers) == 0 {
			s.rules, s.last = rules[:i+1:i+1], rule
			break
		}
		s.rules = rules[: i+1 : i+1]
	}
	if len(s.rules) <= scanned {
		return s
	}
	asked := map[config.HeaderMatch]int{}
	for _, rule := range s.rules {
		for _, h := range all[rule].Match.Headers {
			asked[h]++
		}
	}
	s.byHeader = map[string]map[string][]int32{}
	for _, rule := range s.rules {
		headers := all[rule].Match.Headers
		if len(headers) == 0 {
			continue
		}
		rarest := headers[0]
		for _, h := range headers[1:] {
			if asked[h] < asked[rarest] {
				rarest = h
			}
		}
		name := lower(rarest.Name, nil)
		values := s.byHeader[name]
		if values == nil {
			values = map[string][]int32{}
			s.byHeader[name] = values
			s.lengths |= 1 << (len(name) % 64)
		}
		group := values[rarest.Exact]
		if n := len(group); n > 0 && len(all[group[n-1]].Match.Headers) == 1 {
			// The one before it asks for this line alone: this one can never match.
			continue
		}
		values[rarest.Exact] = append(group, rule)
	}
	return s
}

// match is the first rule that matches, if it is before best; else best.
func (s *samePath) match(all []Rule, req *message.Request, best int32) int32 {
	if s.rules[0] >= best {
		return best
	}
	if s.byHeader == nil {
		return firstOf(s.rules, all, req, best)
	}
	best = min(best, s.last)
	best = s.line(":method", req.Method, all, req, best)
	best = s.line(":authority", req.Authority, all, req, best)
	best = s.line("host", req.Authority, all, req, best)
	best = s.line(":path", req.Path, all, req, best)
	best = s.line(":scheme", req.Scheme, all, req, best)
	for i := range req.Header {
		best = s.line(req.Header[i].Name, req.Header[i].Value, all, req, best)
	}
	return best
}

// line asks the rules that stand under one line of the request.
func (s *samePath) line(name, value string, all []Rule, req *message.Request, best int32) int32 {
	if s.lengths&(1<<(len(name)%64)) == 0 {
		return best
	}
	var buf [64]byte
	return firstOf(s.byHeader[lower(name, buf[:0])][value], all, req, best)
}

// firstOf asks rules one by one.
func firstOf(rules []int32, all []Rule, req *message.Request, best int32) int32 {
	for _, rule := range rules {
		if rule >= best {
			break
		}
		if matchHeaders(all[rule].Match.Headers, req) < 0 {
			return rule
		}
	}
	return best
}
