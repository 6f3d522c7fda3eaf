package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/sluice-proxy/sluice/dataplane/handover"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/live"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/client"
)

// The kinds of descriptors that are handed over. A kept one's is followed by its name.
const (
	plainSocket = "socket"
	keptSocket  = "kept/"
)

// succession is the place that this process takes over, if somebody has it, and gives on.
type succession struct {
	path   string
	me     handover.Identity
	logger *slog.Logger
	// before is nil if nobody was there.
	before *handover.Predecessor
	// sockets are those of the process before, and the service manager's.
	sockets *listener.Inherited
	// owner is closed when this process has its place for itself: now it writes files, answers at the admin address, and
	// may be followed.
	owner chan struct{}
}

// newSuccession takes what was given to the process, and asks whoever was there before for his. The error is of that one,
// who goes on then.
func newSuccession(o *Options, b *bootstrap.Bootstrap) (*succession, error) {
	s := &succession{
		path: o.Handover, me: handover.Identity{Node: b.Node.GetId(), Fleet: b.Node.GetCluster(), Version: o.Version}, logger: o.Logger,
		sockets: &listener.Inherited{}, owner: make(chan struct{}),
	}
	for _, file := range o.Sockets {
		s.inherit(file, true)
	}
	if s.path == "" {
		return s, nil
	}
	var err error
	if s.before, err = handover.Ask(s.path, s.me); err != nil || s.before == nil {
		return s, err
	}
	s.logger.Info("taking over", "pid", s.before.PID, "sockets", len(s.before.Descriptors))
	for _, file := range s.before.Descriptors {
		s.inherit(file, strings.HasPrefix(file.Name(), keptSocket))
	}
	s.before.Descriptors = nil
	return s, nil
}

// inherit adds a descriptor. One that is of no use is told, and no reason not to start.
func (s *succession) inherit(file *os.File, kept bool) {
	if err := s.sockets.Add(file, kept); err != nil {
		s.logger.Error("a descriptor is not used", "error", err)
	}
}

// close ends what is left, when nothing runs any more.
func (s *succession) close() {
	s.sockets.Close()
	if s.before != nil {
		s.before.Close()
	}
}

// take makes this process the owner of its place, when it is ready. After an error the process before goes on. refused tells
// whether this one has not accepted all that it was sent.
func (s *succession) take(ctx context.Context, ready <-chan struct{}, refused func() bool) error {
	if s.before != nil {
		select {
		case <-ready:
			// A listener that is no longer wanted is one thing, and one that this program cannot serve another.
			if lost := s.sockets.Waiting(); len(lost) > 0 && refused() {
				err := fmt.Errorf("handover: a part of the configuration was refused, and nothing here serves %s", strings.Join(lost, ", "))
				s.logger.Error("the process before goes on", "pid", s.before.PID, "error", err)
				return err
			}
		case <-s.before.Ended(): // it has given up waiting, or is gone
		case <-ctx.Done():
			return nil
		}
		switch err := s.before.Take(ctx); {
		case errors.Is(err, handover.ErrGone):
			s.logger.Warn("the process before is gone", "pid", s.before.PID)
		case ctx.Err() != nil:
			return nil
		case err != nil:
			// Run's error comes only when the connections have ended that came here meanwhile.
			s.logger.Error("the process before goes on", "pid", s.before.PID, "error", err)
			return err
		default:
			s.logger.Info("took over", "pid", s.before.PID)
		}
	}
	s.sockets.Own()
	close(s.owner)
	select {
	case <-ready:
		s.report()
	case <-ctx.Done():
	}
	return nil
}

// refused tells whether a proxy has refused any of what it was sent.
func refused(c *client.Client) bool {
	if c == nil {
		return false
	}
	for _, n := range c.Stats().Rejects {
		if n > 0 {
			return true
		}
	}
	return false
}

// whenOwner does what only one process may, or not, if the end comes before. not may be nil.
func (s *succession) whenOwner(ctx context.Context, do, not func() error) error {
	select {
	case <-s.owner:
		return do()
	case <-ctx.Done():
	}
	if not != nil {
		return not()
	}
	return nil
}

// report tells of sockets that no listener has wanted.
func (s *succession) report() {
	kept, closed := s.sockets.Unused()
	for _, socket := range kept {
		s.logger.Warn("no listener has the address of a socket that this process was started with: who connects there waits", "socket", socket)
	}
	for _, socket := range closed {
		s.logger.Info("no listener has the address of a socket of the process before: it is closed", "socket", socket)
	}
}

// offer lets another process take over. yield gives up all that only one may have.
func (s *succession) offer(ctx context.Context, runtime *live.Runtime, admin net.Listener, yield func(pid int)) {
	select {
	case <-s.owner:
	case <-ctx.Done():
		return
	}
	if s.path == "" {
		return
	}
	server, err := handover.Listen(handover.Options{
		Path: s.path, Me: s.me, Logger: s.logger,
		Descriptors: func() ([]handover.Descriptor, func()) { return s.descriptors(runtime, admin) },
		Failed:      func() { runtime.Share(false) },
		Yield: func(pid int) {
			s.logger.Info("the next process has taken over", "pid", pid)
			runtime.Share(true)
			yield(pid)
		},
	})
	if err != nil {
		s.logger.Error("no other process can take over", "error", err)
		return
	}
	server.Run(ctx)
}

// descriptors are all that listens. Until done is called they stay. They are shared from now on: if this process ends before the
// next is ready, that one goes on with them.
func (s *succession) descriptors(runtime *live.Runtime, admin net.Listener) (list []handover.Descriptor, done func()) {
	sockets, done := runtime.Sockets()
	for _, socket := range sockets {
		socket.Share(true)
		if !socket.Kept() {
			list = append(list, handover.Descriptor{Kind: plainSocket, Conn: socket})
		}
	}
	for _, file := range s.sockets.Kept() {
		list = append(list, handover.Descriptor{Kind: keptSocket + strings.TrimPrefix(file.Name(), keptSocket), Conn: file})
	}
	if conn, ok := admin.(syscall.Conn); ok {
		list = append(list, handover.Descriptor{Kind: plainSocket, Conn: conn})
	}
	return list, done
}

// listenAdmin opens the admin server's socket, or finds it among those that are there.
func (s *succession) listenAdmin(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := s.inheritedAdmin(address)
	if l == nil && err == nil {
		l, err = net.Listen("tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return l, nil
}

func (s *succession) inheritedAdmin(address string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	ap := resolved.AddrPort()
	return s.sockets.Listen(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}
