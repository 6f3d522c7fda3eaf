package route

import (
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// scanned is how many rules are asked one by one: for so few a table of their headers costs more than it saves.
const scanned = 8

// samePath is rules of one path and kind, at least the first of which looks at more. Read-only once built.
type samePath struct {
	// rules are their indices in order, up to the first plain one: none behind it can match.
	rules []int32
	// byHeader is set if there are many of them: each rule that looks at headers stands in it once, under the line (in lower
	// case, and its value) that the fewest other rules ask for. So a request finds, by its own lines, the few rules that
	// may match, in a time that grows with how many rules ask for the same rarest line, and not with their number.
	byHeader map[string]map[string][]int32
	// lengths has bit n set if a name of n bytes is in byHeader, modulo 64: most lines need no more than a look at it.
	lengths uint64
	// others are the rules that ask for no exact line, asked one by one.
	others []int32
	// last is the plain rule that ends rules, or none.
	last int32
}

func newSamePath(all []Rule, rules []int32) samePath {
	s := samePath{last: none}
	for i, rule := range rules {
		if plain(&all[rule].Match) {
			s.rules, s.last = rules[:i+1:i+1], rule
			break
		}
		s.rules = rules[: i+1 : i+1]
	}
	if len(s.rules) <= scanned {
		return s
	}
	asked := map[line]int{}
	for _, rule := range s.rules {
		for i := range all[rule].Match.Headers {
			if l, ok := exactLine(&all[rule].Match.Headers[i]); ok {
				asked[l]++
			}
		}
	}
	s.byHeader = map[string]map[string][]int32{}
	for _, rule := range s.rules {
		m := &all[rule].Match
		var rarest line
		found := false
		for i := range m.Headers {
			if l, ok := exactLine(&m.Headers[i]); ok && (!found || asked[l] < asked[rarest]) {
				rarest, found = l, true
			}
		}
		switch {
		case plain(m):
			continue
		case !found:
			s.others = append(s.others, rule)
			continue
		}
		values := s.byHeader[rarest.name]
		if values == nil {
			values = map[string][]int32{}
			s.byHeader[rarest.name] = values
			s.lengths |= 1 << (len(rarest.name) % 64)
		}
		group := values[rarest.value]
		if n := len(group); n > 0 && asksOne(&all[group[n-1]].Match) {
			// The one before it asks for this line alone: this one can never match.
			continue
		}
		values[rarest.value] = append(group, rule)
	}
	return s
}

// line is a header's name, in lower case, and its whole value.
type line struct{ name, value string }

func exactLine(h *config.HeaderMatch) (line, bool) {
	if h.Kind != config.TextExact || h.Invert {
		return line{}, false
	}
	return line{lower(h.Name, nil), h.Value}, true
}

// asksOne says whether a match looks at one header and nothing else.
func asksOne(m *config.Match) bool {
	return len(m.Headers) == 1 && m.PathKind != config.PathRegex && len(m.Query) == 0 && !m.GRPC && len(m.Sources) == 0 && m.Fraction == nil
}

// match is the first rule that matches, if it is before best; else best.
func (s *samePath) match(all []Rule, req *message.Request, given *Given, best int32) int32 {
	if s.rules[0] >= best {
		return best
	}
	if s.byHeader == nil {
		return firstOf(s.rules, all, req, given, best)
	}
	best = min(best, s.last)
	best = firstOf(s.others, all, req, given, best)
	best = s.line(":method", req.Method, all, req, given, best)
	best = s.line(":authority", req.Authority, all, req, given, best)
	best = s.line("host", req.Authority, all, req, given, best)
	best = s.line(":path", req.Path, all, req, given, best)
	best = s.line(":scheme", req.Scheme, all, req, given, best)
	for i := range req.Header {
		best = s.line(req.Header[i].Name, req.Header[i].Value, all, req, given, best)
	}
	return best
}

// line asks the rules that stand under one line of the request.
func (s *samePath) line(name, value string, all []Rule, req *message.Request, given *Given, best int32) int32 {
	if s.lengths&(1<<(len(name)%64)) == 0 {
		return best
	}
	var buf [64]byte
	return firstOf(s.byHeader[lower(name, buf[:0])][value], all, req, given, best)
}

// firstOf asks rules one by one.
func firstOf(rules []int32, all []Rule, req *message.Request, given *Given, best int32) int32 {
	for _, rule := range rules {
		if rule >= best {
			break
		}
		if rest(&all[rule].Match, req, given) {
			return rule
		}
	}
	return best
}
