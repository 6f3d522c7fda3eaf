package listener

import (
	"fmt"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Chooser finds the filter chain for a Hello as Envoy does: by server name (exact, then the longest "*.suffix", then
// chains without names), then by transport protocol, then by application protocol; each step decides, with no way
// back. Read-only after NewChooser.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch
type Chooser struct {
	// byName: an exact name, ".suffix", or "" for chains without names.
	byName map[string]byTransport
}

type byTransport map[string]byProtocol // "tls", "raw_buffer", or "" for any

type byProtocol map[string]int // an ALPN name, or "" for any → the chain's place

// NewChooser indexes chains by their matches. Two chains that take the same connections are an error, as in Envoy.
func NewChooser(chains []*config.FilterChain) (*Chooser, error) {
	c := &Chooser{byName: map[string]byTransport{}}
	for i, chain := range chains {
		names := chain.Match.ServerNames
		if len(names) == 0 {
			names = []string{""}
		}
		protocols := chain.Match.ApplicationProtocols
		if len(protocols) == 0 {
			protocols = []string{""}
		}
		for _, name := range names {
			key := strings.TrimPrefix(name, "*")
			if c.byName[key] == nil {
				c.byName[key] = byTransport{}
			}
			transports := c.byName[key]
			if transports[chain.Match.TransportProtocol] == nil {
				transports[chain.Match.TransportProtocol] = byProtocol{}
			}
			for _, protocol := range protocols {
				at := transports[chain.Match.TransportProtocol]
				if other, taken := at[protocol]; taken && other != i {
					return nil, fmt.Errorf("filter chains %q and %q take the same connections (server name %q)",
						chains[other].Name, chain.Name, name)
				}
				at[protocol] = i
			}
		}
	}
	return c, nil
}

// Choose is the place of the chain for a connection; -1 is none.
func (c *Chooser) Choose(h Hello) int {
	transports := c.transports(h.ServerName)
	transport := "raw_buffer"
	if h.TLS {
		transport = "tls"
	}
	protocols, ok := transports[transport]
	if !ok {
		protocols = transports[""]
	}
	for _, protocol := range h.ALPN {
		if i, ok := protocols[protocol]; ok {
			return i
		}
	}
	if i, ok := protocols[""]; ok {
		return i
	}
	return -1
}

func (c *Chooser) transports(name string) byTransport {
	if name != "" {
		if t, ok := c.byName[name]; ok {
			return t
		}
		for i := 1; i < len(name); i++ {
			if name[i] != '.' {
				continue
			}
			if t, ok := c.byName[name[i:]]; ok {
				return t
			}
		}
	}
	return c.byName[""]
}
