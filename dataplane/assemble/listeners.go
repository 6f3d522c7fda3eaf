package assemble

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/client"
)

// updateListeners judges listeners, which need an address that no other has, and that can be bound.
func (a *Assembler) updateListeners(u client.Update, now time.Time) map[string]error {
	fresh := a.listeners.judge(u, now, true)
	refuse := func(name string, err error) {
		delete(fresh, name)
		i := slices.IndexFunc(u.Resources, func(r client.Resource) bool { return r.Name == name })
		a.listeners.refuse(u.Resources[i], now, err)
	}
	// Each refusal brings the listener's older version back, whose address another may have taken: so from the start again.
	bound := map[string]bool{}
	for again := true; again; {
		again = false
		if name, err := conflict(a.listeners.latest, fresh); err != nil {
			refuse(name, err)
			again = true
			continue
		}
		for _, l := range sortedEntries(fresh) {
			if bound[l.name] {
				continue
			}
			bound[l.name] = true
			if err := a.options.Bind(l.value); err != nil {
				refuse(l.name, fmt.Errorf("listener %q: address %v: %w", l.name, address(l.value), err))
				again = true
			}
		}
	}
	a.listeners.commit(fresh)
	return a.listeners.refusals(u)
}

// address is where a listener is to be found.
func address(l *config.Listener) config.Address {
	return config.Address{AddrPort: l.Address, Path: l.Path}
}

// conflict finds a fresh listener whose address another one has: an unchanged one, or a fresh one with an earlier name.
func conflict(latest, fresh map[string]*entry[*config.Listener]) (string, error) {
	owners := map[config.Address]string{}
	claim := func(l *entry[*config.Listener]) error {
		address := address(l.value)
		owner, taken := owners[address]
		if taken && (address.Path != "" || address.Port() != 0) {
			return fmt.Errorf("listener %q: address: got %v, which is listener %q's", l.name, address, owner)
		}
		owners[address] = l.name
		return nil
	}
	for _, l := range sortedEntries(latest) {
		if fresh[l.name] == nil {
			_ = claim(l) // these have been judged
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		if err := claim(fresh[name]); err != nil {
			return name, err
		}
	}
	return "", nil
}

// duplicates finds static listeners with one address.
func duplicates(static map[string]*entry[*config.Listener]) error {
	_, err := conflict(nil, static)
	return err
}
