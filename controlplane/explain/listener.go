package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// candidate is a listener that a request may arrive at.
type candidate struct {
	fleet    *ir.Fleet
	listener *ir.Listener
}

// find is the listeners that fit the scheme and the port; at least one, or an error that says which there are.
func find(out *compile.Output, fleet string, t *target) (found []candidate, note string, err error) {
	var ofScheme []candidate
	var fleets, sockets []string
	for _, f := range out.Fleets {
		fleets = append(fleets, f.Name)
		if fleet != "" && f.Name != fleet {
			continue
		}
		for i := range f.Listeners {
			l := &f.Listeners[i]
			sockets = append(sockets, fmt.Sprintf("%s %s", scheme(l), l.Name))
			if scheme(l) == t.scheme {
				ofScheme = append(ofScheme, candidate{f, l})
			}
		}
	}
	if fleet != "" && !slices.Contains(fleets, fleet) {
		return nil, "", fmt.Errorf("fleet: got %q, want one of: %s", fleet, list(fleets))
	}
	port := t.port
	if port == 0 {
		port = map[string]uint16{"http": 80, "https": 443}[t.scheme]
	}
	for _, c := range ofScheme {
		if c.listener.Address.Port() == port {
			found = append(found, c)
		}
	}
	if len(found) == 0 && t.port == 0 && len(ofScheme) > 0 {
		return ofScheme, fmt.Sprintf("nothing listens on port %d: the listeners for %s were asked, as if one of them was published there", port, t.scheme), nil
	}
	if len(found) == 0 {
		return nil, "", fmt.Errorf("nothing listens for %s on port %d; there is: %s", t.scheme, port, list(sockets))
	}
	return found, "", nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// scheme is how a listener is spoken to.
func scheme(l *ir.Listener) string {
	first := l.Default
	if len(l.Chains) > 0 {
		first = &l.Chains[0]
	}
	switch {
	case first == nil:
		return ""
	case first.Certificate != "" || first.Passthrough:
		return "https"
	case first.TCP != nil:
		return "tcp"
	default:
		return "http"
	}
}

// choose is the filter chain for a server name: exact, then the longest wildcard, then a chain for all, then the default;
// nil refuses the handshake.
func choose(l *ir.Listener, serverName string) *ir.FilterChain {
	var best *ir.FilterChain
	longest := -1
	for i := range l.Chains {
		c := &l.Chains[i]
		if len(c.ServerNames) == 0 && longest < 0 {
			best, longest = c, 0
		}
		for _, name := range c.ServerNames {
			suffix, wild := strings.CutPrefix(name, "*")
			switch {
			case serverName != "" && name == serverName:
				return c
			case wild && len(serverName) > len(suffix) && strings.HasSuffix(serverName, suffix) && len(suffix) > longest:
				best, longest = c, len(suffix)
			}
		}
	}
	if best == nil {
		return l.Default
	}
	return best
}
