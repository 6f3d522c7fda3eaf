package plan

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/xds/drain"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// maxProxies is how many proxies of a fleet are named.
const maxProxies = 1000

// fleet is what changes for a fleet's proxies. One that no Gateway names any more is left with nothing.
func (p *Planner) fleet(name string, old served.Fleet, next planned, b *budget, notes *[]string) *adminv1.FleetChange {
	out := &adminv1.FleetChange{Fleet: text(name)}
	if next.err != nil {
		out.Error = text(next.err.Error())
		return out
	}
	before, after := orEmpty(old.Snapshot), orEmpty(next.Snapshot)
	for _, t := range resource.PushOrder {
		names := slices.Sorted(slices.Values(after.Set(t.URL).Changed(before.Set(t.URL))))
		for _, r := range names {
			was, is := before.Set(t.URL).Get(r), after.Set(t.URL).Get(r)
			change := &adminv1.ResourceChange{Type: t.Short, Name: text(r), Change: changed}
			if was != nil {
				change.Served = was.Version
			} else {
				change.Change = added
			}
			switch {
			case is == nil:
				change.Change = removed
			case t.URL != resource.SecretType: // its version depends on keys that are not here
				change.Planned = is.Version
			}
			change.Diff = b.resource(t, was, is)
			out.Resources = append(out.Resources, change)
			if t.URL == resource.ListenerType {
				drains, err := drainsOf(r, was, is)
				if err != nil {
					*notes = append(*notes, text(fmt.Sprintf("listener %s: whose connections drain is not known: %v", r, err)))
				}
				out.Drains = append(out.Drains, drains...)
			}
		}
	}
	if len(out.Resources) == 0 {
		return out
	}
	proxies := p.opts.Proxies(name)
	if more := len(proxies) - maxProxies; more > 0 {
		*notes = append(*notes, text(fmt.Sprintf("fleet %s: %d more proxies", name, more)))
		proxies = proxies[:maxProxies]
	}
	for _, x := range proxies {
		out.Proxies = append(out.Proxies, &adminv1.ConcernedProxy{Id: text(x.ID), Agent: text(x.Agent), Connected: x.Connected})
	}
	return out
}

func orEmpty(s *snapshot.Snapshot) *snapshot.Snapshot {
	if s == nil {
		return snapshot.Empty
	}
	return s
}

// resource is what changes in a resource.
func (b *budget) resource(t resource.Type, was, is *snapshot.Resource) string {
	old, next, err := served.RenderBoth(t.URL, was, is)
	switch {
	case err == nil && old == next && t.URL == resource.SecretType:
		return "@@ what is secret in it changes"
	case err == nil && old == next:
		return "@@ the order of a long list changes"
	case err == nil:
		return b.text(old, next)
	}
	return text(fmt.Sprintf("@@ it cannot be shown: %v", err))
}

// drainsOf says whose connections end, by kind of proxy.
func drainsOf(name string, was, is *snapshot.Resource) ([]*adminv1.Drain, error) {
	envoy, sluice, err := drain.Of(anyOf(was), anyOf(is))
	if err != nil {
		return nil, err
	}
	var out []*adminv1.Drain
	for _, kind := range []struct {
		proxies string
		effect  drain.Effect
	}{{"envoy", envoy}, {"sluice", sluice}} {
		if kind.effect.Drains() {
			out = append(out, &adminv1.Drain{Listener: text(name), Proxies: kind.proxies, Chains: kind.effect.Chains, Names: kind.effect.Names, Why: text(kind.effect.Why)})
		}
	}
	return out, nil
}

func anyOf(r *snapshot.Resource) *anypb.Any {
	if r == nil {
		return nil
	}
	return r.Any()
}
