package store

import (
	"bytes"
	"maps"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// accept remembers the versions that turned out to be good, and forgets what is gone.
func (s *Store) accept(b *build, out *compile.Output) {
	bad := map[definition.Ref]bool{}
	for _, p := range out.Problems {
		if p.Severity == definition.SeverityError {
			bad[p.Ref] = true
		}
	}
	var served map[definition.Ref]bool
	if len(bad) > 0 {
		served = inPart(out)
	}
	clean := len(bad) == 0 && !b.chosen.other
	known := sameNames(s.settled, b.compiled)
	there := 0
	for i, d := range b.compiled {
		if known && s.settled[i] == d {
			there++
			continue
		}
		ref, old := d.Ref, s.accepted[d.Ref]
		if old != nil {
			there++
		}
		// A version with a fault counts where there never was one without, and some of it is served.
		if bad[ref] && (!served[ref] || old != nil && !s.partial[ref]) || old == d && bad[ref] == s.partial[ref] {
			continue
		}
		if old == nil || old.Hash != d.Hash || old.Position.File != d.Position.File || bad[ref] != s.partial[ref] {
			s.change(ref)
		} else if old.Position != d.Position || !bytes.Equal(old.Text, d.Text) {
			s.move(ref)
		}
		s.accepted[ref] = d
		if old == nil {
			there++
		}
		if bad[ref] {
			s.partial[ref] = true
		} else {
			delete(s.partial, ref)
		}
	}
	if there < len(s.accepted) {
		for ref := range s.accepted {
			if b.chosen.of(ref) == nil {
				delete(s.accepted, ref)
				delete(s.partial, ref)
				s.change(ref)
			}
		}
	}
	if s.settled = nil; clean {
		s.settled = b.compiled
	}
	s.dirtySockets = s.dirtySockets || !maps.Equal(s.sockets, out.Sockets)
	s.sockets = out.Sockets
	s.certs.keepOnly(func(name string) bool {
		ref := definition.Ref{Kind: "Certificate", Name: name}
		if bundle, ok := strings.CutPrefix(name, trustPrefix); ok {
			ref = definition.Ref{Kind: "TrustBundle", Name: bundle}
		}
		return b.chosen.of(ref) != nil
	})
}

// inPart are the documents of which something is served, though they may have a fault: a Gateway with some of its
// listeners, a Service that is used, though its hosts are not published. Other kinds are served whole or not at all.
func inPart(out *compile.Output) map[definition.Ref]bool {
	served := map[definition.Ref]bool{}
	for s := range out.Sockets {
		served[definition.Ref{Kind: "Gateway", Name: s.Gateway}] = true
	}
	for _, f := range out.Fleets {
		for _, c := range f.Clusters {
			served[definition.Ref{Kind: "Service", Name: c.Name}] = true
		}
	}
	return served
}
