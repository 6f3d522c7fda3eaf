package fleet

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// translator makes of the definitions in a folder the resources that our control plane makes, for the peers to serve. It
// keeps what it made, and parses again only what changed.
type translator struct {
	dir   string
	store *store.Store
	parse store.Files
	last  map[string]map[string][]byte // by type and name
}

func newTranslator(dir string) (*translator, error) {
	s, err := store.Open(store.Options{})
	return &translator{dir: dir, store: s, last: map[string]map[string][]byte{}}, err
}

func (t *translator) close() error { return t.store.Close() }

// changed are the resources that differ from those of the call before.
func (t *translator) changed() (*discoverypb.DeltaDiscoveryResponse, error) {
	files, err := source.Read([]string{t.dir}, nil)
	if err != nil {
		return nil, err
	}
	result := t.store.Update(t.parse.Set(files))
	if len(result.Problems) > 0 || len(result.Compiled.Fleets) != 1 {
		return nil, fmt.Errorf("fleet: got problems %v and %d fleets, want definitions without fault of one", result.Problems, len(result.Compiled.Fleets))
	}
	all, err := translate.Fleet(result.Compiled.Fleets[0])
	if err != nil {
		return nil, err
	}
	hostsInTables(all)
	changed := &discoverypb.DeltaDiscoveryResponse{}
	for url, named := range all {
		if t.last[url] == nil {
			t.last[url] = map[string][]byte{}
		}
		for name, m := range named {
			value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				return nil, err
			}
			if bytes.Equal(value, t.last[url][name]) {
				continue
			}
			t.last[url][name] = value
			changed.Resources = append(changed.Resources, &discoverypb.Resource{Name: name, Resource: &anypb.Any{TypeUrl: url, Value: value}})
		}
	}
	return changed, nil
}

// hostsInTables puts virtual hosts that are resources of their own back into their tables: the peers do not serve VHDS.
func hostsInTables(all translate.Resources) {
	const virtualHosts = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
	for _, name := range slices.Sorted(maps.Keys(all[virtualHosts])) {
		host, _ := all[virtualHosts][name].(*routepb.VirtualHost)
		table, _ := all[resource.RouteType][name[:strings.LastIndexByte(name, '/')]].(*routepb.RouteConfiguration)
		table.Vhds, table.VirtualHosts = nil, append(table.VirtualHosts, host)
	}
	delete(all, virtualHosts)
}
