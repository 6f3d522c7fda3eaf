package definition

import (
	"cmp"
	"fmt"
	"math/big"
	"time"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// checkBalancing looks for what a Service's policy cannot do with its endpoints, and for sizes that do not fit.
func checkBalancing(s *sluicev1.Service, report reporter) {
	const at = "loadBalancer"
	l := s.GetLoadBalancer()
	if ring := l.GetRingHash(); ring != nil {
		checkHashOn(ring.GetHashOn(), at+".ringHash.hashOn", report)
		least, most := cmp.Or(ring.GetMinimumRingSize(), defaultMinRingSize), cmp.Or(ring.GetMaximumRingSize(), defaultMaxRingSize)
		if least > most {
			report(at+".ringHash.maximumRingSize", CodeInvalidValue, fmt.Sprintf("got %d, want minimumRingSize, %d, or more", most, least))
		}
	}
	if maglev := l.GetMaglev(); maglev != nil {
		checkHashOn(maglev.GetHashOn(), at+".maglev.hashOn", report)
		// Else the steps of an endpoint would not come by every place.
		if n := maglev.GetTableSize(); n > 1 && !big.NewInt(int64(n)).ProbablyPrime(0) {
			report(at+".maglev.tableSize", CodeInvalidValue, fmt.Sprintf("got %d, want a prime number, such as 65537", n))
		}
	}
	checkPriorities(s, report)
	checkZones(s, report)
	checkSlowStart(l, report)
	hashes := l.GetRingHash() != nil || l.GetMaglev() != nil
	keys := map[string]int{}
	for i, e := range s.GetEndpoints() {
		key := e.GetHashKey()
		if first, twice := keys[key]; twice && key != "" {
			report(itemPath("endpoints", i)+".hashKey", CodeRepeated, fmt.Sprintf("got %s, which is endpoints[%d]'s already, want one for each", key, first))
		}
		keys[key] = i
		if key != "" && !hashes {
			report(itemPath("endpoints", i)+".hashKey", CodeExclusive, "got a hashKey in a Service that does not hash, want loadBalancer ringHash or maglev, or no hashKey")
		}
		if e.Weight != nil && e.GetWeight() != defaultWeight && l.GetRandom() != nil {
			report(itemPath("endpoints", i)+".weight", CodeExclusive, "got a weight with loadBalancer random, to which weights mean nothing, want roundRobin, or no weight")
		}
	}
}

func checkHashOn(list []*sluicev1.HashKey, at string, report reporter) {
	made := -1
	for i, k := range list {
		cookie := k.GetCookie()
		if cookie == nil {
			continue
		}
		here := itemPath(at, i) + ".cookie"
		checkDuration(cookie.GetTtl(), here+".ttl", report)
		if d, err := ParseDuration(cookie.GetTtl()); err == nil && d%time.Second != 0 {
			report(here+".ttl", CodeDuration, fmt.Sprintf("got %s, want whole seconds: a cookie knows no others", cookie.GetTtl()))
		}
		if cookie.GetTtl() != "" && made >= 0 {
			report(here+".ttl", CodeExclusive, fmt.Sprintf("got a ttl, which hashOn[%d] has already, want one: a proxy makes one cookie", made))
		}
		if cookie.GetTtl() != "" {
			made = i
		}
		if cookie.GetPath() != "" && cookie.GetTtl() == "" {
			report(here+".path", CodeExclusive, "got a path without ttl, want both or none: without ttl the proxy makes no cookie")
		}
	}
}
