package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxRecords are taken of one answer.
	maxRecords = 1000
	// maxAliases is how many CNAMEs are followed in one answer.
	maxAliases = 16
	// maxTTL is a day: a slip in a zone must not stay for longer.
	maxTTL = 24 * time.Hour
)

var errMalformed = errors.New("malformed answer")

// answer is what a resolver says of a name and a type.
type answer struct {
	// records are of that type; empty if the name has none.
	records []record
	// ttl is that of the records and of the aliases that lead to them, the least.
	ttl time.Duration
	// err is why nothing is known.
	err error
}

// record is one of an answer: an address, a service or an alias. Names are in lower case, with the dot at the end.
type record struct {
	owner   string
	ttl     uint32
	ip      netip.Addr
	service Service
	alias   string
}

// readAnswer takes what answers q out of a message.
func readAnswer(message []byte, q dnsmessage.Question) (a answer, truncated bool) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err == nil {
		err = p.SkipAllQuestions()
	}
	switch {
	case err != nil:
		return answer{err: errMalformed}, false
	case h.Truncated:
		return answer{}, true
	case h.RCode == dnsmessage.RCodeNameError:
		return answer{}, false
	case h.RCode != dnsmessage.RCodeSuccess:
		return answer{err: fmt.Errorf("the resolver answers %s", strings.TrimPrefix(h.RCode.String(), "RCode"))}, false
	}
	records, err := readRecords(&p, q.Type)
	if err != nil {
		return answer{err: errMalformed}, false
	}
	// Only what the name, or an alias of it, owns is an answer (RFC 1034, 3.6.2).
	owner, least := lower(q.Name), uint32(1<<31)
	for range maxAliases {
		next := ""
		for _, one := range records {
			if one.owner == owner && one.alias != "" {
				next, least = one.alias, min(least, one.ttl)
				break
			}
		}
		if next == "" {
			break
		}
		owner = next
	}
	for _, one := range records {
		if one.owner == owner && one.alias == "" {
			a.records = append(a.records, one)
			least = min(least, one.ttl)
		}
	}
	if len(a.records) > 0 {
		a.ttl = min(time.Duration(least)*time.Second, maxTTL)
	}
	return a, false
}

// lower is a name in lower case: only ASCII has case (RFC 4343), and else two names that differ would be one.
func lower(n dnsmessage.Name) string {
	b := n.Data[:n.Length]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// readRecords reads an answer's records of a type, and its aliases.
func readRecords(p *dnsmessage.Parser, t dnsmessage.Type) (records []record, err error) {
	for len(records) < maxRecords {
		header, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, err
		}
		if header.Class != dnsmessage.ClassINET || header.Type != t && header.Type != dnsmessage.TypeCNAME {
			if err := p.SkipAnswer(); err != nil {
				return nil, err
			}
			continue
		}
		one := record{owner: lower(header.Name), ttl: header.TTL}
		switch header.Type {
		case dnsmessage.TypeCNAME:
			var body dnsmessage.CNAMEResource
			body, err = p.CNAMEResource()
			one.alias = lower(body.CNAME)
		case dnsmessage.TypeA:
			var body dnsmessage.AResource
			body, err = p.AResource()
			one.ip = netip.AddrFrom4(body.A)
		case dnsmessage.TypeAAAA:
			var body dnsmessage.AAAAResource
			body, err = p.AAAAResource()
			one.ip = netip.AddrFrom16(body.AAAA)
		case dnsmessage.TypeSRV:
			var body dnsmessage.SRVResource
			body, err = p.SRVResource()
			one.service = Service{Target: lower(body.Target), Port: body.Port, Priority: body.Priority, Weight: body.Weight}
		}
		if err != nil {
			return nil, err
		}
		records = append(records, one)
	}
	return records, nil
}

// reply is an answer about addresses.
func (a answer) reply() Reply {
	r := Reply{TTL: a.ttl, Err: a.err}
	for _, one := range a.records {
		r.Addresses = append(r.Addresses, one.ip)
	}
	return r
}

// services are what can be used of an answer about services.
func (a answer) services() (out []Service) {
	seen := map[Service]bool{}
	for _, one := range a.records {
		s := one.service
		s.Target = strings.TrimSuffix(s.Target, ".")
		if s.Port == 0 || !isHost(s.Target) || seen[s] {
			continue
		}
		seen[s] = true
		out = append(out, s)
	}
	return out
}

// isHost tells whether a target is a host's name (RFC 1123, 2.1; with underscores, as some have). What a label holds is up to
// whoever answers, any byte, and the name goes on into configuration and logs; an address is no name.
func isHost(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return name != "" && err != nil
}
