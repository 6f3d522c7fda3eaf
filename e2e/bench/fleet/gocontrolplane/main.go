// gocontrolplane is what go-control-plane's users write: its server over its SnapshotCache or its LinearCaches.
//
// In: resources over HTTP: POST /stage takes some (a DiscoveryResponse that holds them), POST /apply makes the call that
// a user would make to change the cache. Out: xDS. It must not know where the resources come from.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	// What is staged is unpacked, so its types must be linked in.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/sluice-proxy/sluice/xds/resource"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gocontrolplane:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("got %q, want SnapshotCache or LinearCache, an address for xDS, one for HTTP", args)
	}
	s := &service{resources: map[string]map[string]types.Resource{}}
	var xds cache.Cache
	switch args[0] {
	case "SnapshotCache":
		c := cache.NewSnapshotCache(true, everyone{}, nil)
		xds, s.change = c, s.snapshot(c)
	case "LinearCache":
		caches := map[string]*cache.LinearCache{}
		mux := &cache.MuxCache{
			Classify:      func(r *cache.Request) string { return r.GetTypeUrl() },
			ClassifyDelta: func(r *cache.DeltaRequest) string { return r.GetTypeUrl() },
			Caches:        map[string]cache.Cache{},
		}
		for _, t := range resource.PushOrder {
			caches[t.URL] = cache.NewLinearCache(t.URL)
			mux.Caches[t.URL] = caches[t.URL]
		}
		xds, s.change = mux, linear(caches)
	default:
		return fmt.Errorf("got %q, want SnapshotCache or LinearCache", args[0])
	}
	listener, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	rpc := grpc.NewServer()
	discoverypb.RegisterAggregatedDiscoveryServiceServer(rpc, server.NewServer(context.Background(), xds, nil, sotw.WithOrderedADS()))
	failed := make(chan error, 2)
	go func() { failed <- rpc.Serve(listener) }()
	http.HandleFunc("POST /stage", s.stage)
	http.HandleFunc("POST /apply", s.apply)
	go func() { failed <- http.ListenAndServe(args[2], nil) }()
	return <-failed
}

// everyone has one snapshot.
type everyone struct{}

func (everyone) ID(*corepb.Node) string { return "" }

type service struct {
	mu        sync.Mutex
	resources map[string]map[string]types.Resource // by type and name
	staged    []*discoverypb.Resource
	messages  []proto.Message // of staged
	version   int
	change    func(s *service) error
}

// stage unpacks what apply will change, so that apply is the change alone.
func (s *service) stage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var all discoverypb.DeltaDiscoveryResponse
	if err := proto.Unmarshal(body, &all); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.staged, s.messages = all.GetResources(), nil
	for _, one := range s.staged {
		m, err := one.GetResource().UnmarshalNew()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.messages = append(s.messages, m)
	}
}

func (s *service) apply(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range s.staged {
		url := one.GetResource().GetTypeUrl()
		if s.resources[url] == nil {
			s.resources[url] = map[string]types.Resource{}
		}
		s.resources[url][one.GetName()] = s.messages[i]
	}
	s.version++
	if err := s.change(s); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
	s.staged, s.messages = nil, nil
}

// snapshot sets one of all resources: the cache finds out what changed.
func (s *service) snapshot(c cache.SnapshotCache) func(*service) error {
	return func(*service) error {
		all := map[string][]types.Resource{}
		for url, named := range s.resources {
			for _, m := range named {
				all[url] = append(all[url], m)
			}
		}
		next, err := cache.NewSnapshot(strconv.Itoa(s.version), all)
		if err != nil {
			return err
		}
		return c.SetSnapshot(context.Background(), "", next)
	}
}

// linear updates each resource that was staged, what is referred to first; many, as in the beginning, at once by type.
func linear(caches map[string]*cache.LinearCache) func(*service) error {
	return func(s *service) error {
		for _, t := range resource.PushOrder {
			changed := map[string]types.Resource{}
			for i, one := range s.staged {
				if one.GetResource().GetTypeUrl() == t.URL {
					changed[one.GetName()] = s.messages[i]
				}
			}
			c := caches[t.URL]
			if len(changed) > 10 {
				if err := c.UpdateResources(changed, nil); err != nil {
					return err
				}
				continue
			}
			for name, m := range changed {
				if err := c.UpdateResource(name, m); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
