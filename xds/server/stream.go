package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// wire is one of the two protocols over a gRPC stream. receive and send may be called concurrently with each other.
type wire interface {
	receive() (*request, error)
	send(m *message) error
}

// stream is what run needs of one stream. Only the run goroutine touches it, but for the channels.
type stream struct {
	server   *Server
	ctx      context.Context
	id       StreamID
	node     Node
	requests <-chan *request
	broken   <-chan error // receive's last error
	out      chan<- *message
	done     <-chan error // one value for each message in out
	state    *state
	watcher  *snapshot.Watcher

	waiting *message    // a first response, which waits for a slot
	sending bool        // the sender has a message
	timeout *time.Timer // of that message
	wake    *time.Timer
	release func() // gives the slot back that the message holds; may be called more than once
}

// run is the life of a stream. What it returns is what the client gets as the status.
func (s *Server) run(ctx context.Context, w wire, isDelta bool) error {
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	leave, err := s.admit(from)
	if err != nil {
		return err
	}
	defer leave()
	id := StreamID(s.ids.Add(1))
	if o := s.options.Observer; o != nil {
		o.StreamOpened(id, from)
		defer o.StreamClosed(id)
	}

	ended := make(chan struct{})
	defer close(ended)
	requests, broken := make(chan *request), make(chan error, 1)
	go receive(w, requests, broken, ended)
	out, done := make(chan *message), make(chan error, 1)
	go send(w, out, done, ended)

	st := &stream{
		server: s, ctx: ctx, id: id, requests: requests, broken: broken, out: out, done: done,
		timeout: stopped(), wake: stopped(), release: func() {},
	}
	st.state = newState(config{
		delta: isDelta, prefix: fmt.Sprintf("%06x", rand.Uint32N(1<<24)), maxNames: s.options.MaxNames,
		patience: s.options.Patience, now: time.Now, report: reporter{id: id, observer: s.options.Observer},
		unserved: func(typeURL string) { s.unserved(st.node, typeURL) },
	})
	defer func() {
		st.timeout.Stop()
		st.wake.Stop()
		st.release()
		if st.watcher != nil {
			st.watcher.Stop()
		}
	}()
	return st.loop()
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// receive ends when the stream does, since that ends its Recv.
func receive(w wire, requests chan<- *request, broken chan<- error, ended <-chan struct{}) {
	for {
		req, err := w.receive()
		if err != nil {
			broken <- err
			return
		}
		select {
		case requests <- req:
		case <-ended:
			return
		}
	}
}

// send ends when the stream does: also a Send that waits for a client that does not read.
func send(w wire, out <-chan *message, done chan<- error, ended <-chan struct{}) {
	for {
		select {
		case m := <-out:
			done <- w.send(m)
		case <-ended:
			return
		}
	}
}

func (s *stream) loop() error {
	first := time.NewTimer(s.server.options.FirstRequestTimeout)
	defer first.Stop()
	var changed <-chan struct{}
	for {
		s.push()
		if s.watcher != nil {
			changed = s.watcher.C
		}
		select {
		case req := <-s.requests:
			if s.watcher == nil {
				if err := s.open(req); err != nil {
					return err
				}
				first.Stop()
			}
			if err := check(req, s.server.options.MaxNames); err != nil {
				return err
			}
			if err := s.state.handle(req); err != nil {
				return err
			}
		case s.slot() <- struct{}{}:
			s.occupy()
		case <-changed:
			s.state.adopt(s.server.options.Cache.Get(s.node.Cluster))
		case err := <-s.done:
			s.sending = false
			s.timeout.Stop()
			s.release()
			if err != nil {
				return err
			}
		case err := <-s.broken:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-s.timeout.C:
			return status.Errorf(codes.DeadlineExceeded, "a response was not taken within %v", s.server.options.SendTimeout)
		case <-first.C:
			return status.Errorf(codes.DeadlineExceeded, "got no request within %v", s.server.options.FirstRequestTimeout)
		case <-s.wake.C:
		case <-s.server.closed:
			return status.Error(codes.Unavailable, "the control plane is shutting down")
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// open takes the node of the first request: later ones need not have it (rule 1).
func (s *stream) open(req *request) error {
	if req.node == nil || req.node.ID == "" {
		return status.Error(codes.InvalidArgument, "node.id: got nothing, want the proxy's id in the first request")
	}
	s.node = *req.node
	if s.node.Cluster == "" {
		s.node.Cluster = "default"
	}
	if len(s.node.ID) > maxNodeLength || len(s.node.Cluster) > maxNodeLength {
		return status.Errorf(codes.InvalidArgument, "node: got an id or a cluster of more than %d bytes", maxNodeLength)
	}
	if authorize := s.server.options.Authorize; authorize != nil {
		if err := authorize(s.ctx, s.node); err != nil {
			s.server.tellRefused(s.node, err)
			return status.Errorf(codes.PermissionDenied, "node %q of fleet %q: %v", s.node.ID, s.node.Cluster, err)
		}
	}
	if o := s.server.options.Observer; o != nil {
		o.Node(s.id, s.node)
	}
	cache := s.server.options.Cache
	s.watcher = cache.Watch(s.node.Cluster)
	s.state.adopt(cache.Get(s.node.Cluster))
	return nil
}

// push hands the next message to the sender, if it is free.
func (s *stream) push() {
	if !s.sending && s.waiting == nil {
		if m := s.state.next(); m != nil && m.first {
			s.waiting = m
		} else if m != nil {
			s.hand(m)
		}
	}
	s.wake.Stop()
	if at := s.state.settle(); !at.IsZero() {
		s.wake.Reset(time.Until(at))
	}
}

func (s *stream) hand(m *message) {
	s.out <- m // the sender is free: it takes it at once
	s.sending = true
	s.timeout.Reset(s.server.options.SendTimeout)
}

// slot is where a first response waits for its turn; nil if none does.
func (s *stream) slot() chan<- struct{} {
	if s.waiting == nil {
		return nil
	}
	return s.server.slots
}

// occupy sends the response that got a slot. A client that does not read does not keep it.
func (s *stream) occupy() {
	free := sync.OnceFunc(func() { <-s.server.slots })
	timer := time.AfterFunc(slotHold, free)
	s.release = func() {
		timer.Stop()
		free()
	}
	s.hand(s.waiting)
	s.waiting = nil
}

// text is a client's error text, bounded and valid.
func text(detail string) *string {
	if len(detail) > maxErrorLength {
		detail = strings.ToValidUTF8(detail[:maxErrorLength], "") + "…"
	}
	return &detail
}

func nodeOf(n *corepb.Node) *Node {
	if n == nil {
		return nil
	}
	version := n.GetUserAgentVersion()
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil && version == "" {
		version = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	return &Node{ID: n.GetId(), Cluster: n.GetCluster(), Agent: n.GetUserAgentName(), Version: version}
}

// check bounds what one request may hold.
func check(req *request, limit int) error {
	for _, names := range [][]string{req.names, req.subscribe, req.unsubscribe} {
		if len(names) > limit {
			return status.Errorf(codes.ResourceExhausted, "got %d names in one request, want %d at most", len(names), limit)
		}
		for _, name := range names {
			if err := checkName(name); err != nil {
				return err
			}
		}
	}
	if len(req.initial) > limit {
		return status.Errorf(codes.ResourceExhausted, "got %d initial versions, want %d at most", len(req.initial), limit)
	}
	for name, version := range req.initial {
		if err := checkName(name, version); err != nil {
			return err
		}
	}
	return nil
}

func checkName(names ...string) error {
	for _, name := range names {
		if len(name) > maxNameLength {
			return status.Errorf(codes.InvalidArgument, "got a name or version of %d bytes, want %d at most", len(name), maxNameLength)
		}
	}
	return nil
}
