package definition

import (
	"fmt"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// checkMirrors wants each Service once: two shares of one draw would be the larger of them, and not their sum.
func checkMirrors(list []*sluicev1.Mirror, at string, report reporter) {
	first := map[string]int{}
	for i, m := range list {
		if j, twice := first[m.GetService()]; twice && m.GetService() != "" {
			report(itemPath(at, i)+".service", CodeInvalidValue, fmt.Sprintf("got %s, which %s has already, want each once", m.GetService(), itemPath("mirror", j)))
			continue
		}
		first[m.GetService()] = i
		if _, err := ParseFraction(m.GetFraction()); m.GetFraction() != "" && err != nil {
			report(itemPath(at, i)+".fraction", CodeInvalidValue, err.Error())
		}
	}
}
