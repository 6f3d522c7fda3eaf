package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Server waits for the next process.
type Server struct {
	options  Options
	listener *net.UnixListener
	// file is the socket in the file system, by which Close knows it from that of the next.
	file os.FileInfo
	// busy has whoever is taking over.
	busy   chan struct{}
	closed sync.Once
}

// Listen opens the socket, in place of whatever socket is there.
func Listen(options Options) (*Server, error) {
	if options.Patience <= 0 {
		options.Patience = defaultPatience
	}
	s := &Server{options: options, busy: make(chan struct{}, 1)}
	if err := s.listen(); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return s, nil
}

// listen makes the socket where nobody else can reach it, and moves it to its place when it is for its owner alone.
func (s *Server) listen() error {
	info, err := os.Lstat(s.options.Path)
	if err == nil && info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there, and is no socket", s.options.Path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.options.Path), ".handover-") // 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	if s.listener, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: made, Net: "unixpacket"}); err != nil {
		return err
	}
	s.listener.SetUnlinkOnClose(false)
	err = os.Chmod(made, 0o600)
	if err == nil {
		s.file, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, s.options.Path)
	}
	if err != nil {
		_ = s.listener.Close() // nobody knows it
	}
	return err
}

// Close takes nobody any more.
func (s *Server) Close() {
	// Once: later the next one's socket may have the number that ours had.
	s.closed.Do(func() {
		_ = s.listener.Close()
		if now, err := os.Lstat(s.options.Path); err == nil && os.SameFile(now, s.file) {
			_ = os.Remove(s.options.Path)
		}
	})
}

// Run serves until somebody has taken over (true), or the context ends. Then the Server is closed.
func (s *Server) Run(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer s.Close() // whoever has begun to
	defer cancel()
	context.AfterFunc(ctx, s.Close)
	yielded := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.accept(ctx, yielded)
	}()
	select {
	case <-yielded:
		cancel()
		<-ended
		return true
	case <-ended:
		return false
	}
}

// accept returns when the listener is closed, and all that it began has ended.
func (s *Server) accept(ctx context.Context, yielded chan<- struct{}) {
	done := make(chan struct{})
	running := 0
	defer func() {
		for ; running > 0; running-- {
			<-done
		}
	}()
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.options.Logger.Error("nobody can take over for now", "error", err)
			select {
			case <-time.After(time.Second): // for want of a descriptor, say
			case <-ctx.Done():
			}
			continue
		}
		l := &line{conn}
		pid, err := s.meet(l)
		if err == nil && !s.claim(ctx) {
			err = errors.New("another process is taking over")
			err = errors.Join(err, l.send(&message{Refused: err.Error()}, nil))
		}
		if err != nil {
			s.options.Logger.Error("somebody who came has not taken over", "pid", pid, "error", err)
			_ = conn.Close()
			continue
		}
		for running > 0 { // that one has ended, or is about to
			<-done
			running--
		}
		running++
		go func() {
			defer func() { done <- struct{}{} }()
			defer func() { <-s.busy }()
			defer conn.Close()
			// If this one ends before, the next sees that, and that nobody is at the path (ErrGone).
			stop := context.AfterFunc(ctx, func() {
				s.Close()
				_ = conn.Close()
			})
			defer stop()
			switch err := s.hand(l, pid, stop); {
			case err != nil && ctx.Err() == nil:
				s.options.Failed()
				s.options.Logger.Error("the next process has not taken over; this one goes on", "pid", pid, "error", err)
			case err == nil:
				close(yielded)
				<-ctx.Done() // nobody else may
			}
		}()
	}
}

// claim waits a little for whoever was there, and is gone: he may be about to be noticed.
func (s *Server) claim(ctx context.Context) bool {
	wait := time.NewTimer(helloTime)
	defer wait.Stop()
	select {
	case s.busy <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}

// meet finds out who has come, and whether he may take this one's place.
func (s *Server) meet(l *line) (pid int, err error) {
	pid, err = l.trusted()
	if err != nil {
		return pid, err
	}
	// What is not read would reset the connection, and our answer with it.
	hello, _, err := l.receive(helloTime)
	if err != nil {
		return pid, err
	}
	me := s.options.Me
	if hello.Node != me.Node || hello.Fleet != me.Fleet {
		err = fmt.Errorf("this is node %q of fleet %q, and the next is node %q of fleet %q", me.Node, me.Fleet, hello.Node, hello.Fleet)
		return pid, errors.Join(err, l.send(&message{Refused: err.Error()}, nil))
	}
	s.options.Logger.Info("the next process is here", "pid", pid, "version", hello.Version)
	return pid, nil
}

// hand gives everything to the next process. It yields only if that is ready; stays tells whether this one has not ended
// meanwhile, and is called once, after which its end does not disturb.
func (s *Server) hand(l *line, pid int, stays func() bool) error {
	if err := s.give(l); err != nil {
		return err
	}
	ready, _, err := l.receive(s.options.Patience)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("it was not ready within %v", s.options.Patience)
		return errors.Join(err, l.send(&message{Refused: err.Error()}, nil))
	case err != nil:
		return fmt.Errorf("it has gone before it was ready: %w", err)
	case !ready.Ready:
		return errors.New("got another message than that it is ready")
	case !stays():
		return errors.New("this process ends")
	}
	s.options.Yield(pid)
	// The next one's socket is about to stand at the path.
	s.Close()
	if err := l.send(&message{Yours: true}, nil); err != nil {
		// It was ready, and has everything: it must do without our word (ErrGone).
		s.options.Logger.Warn("the next process did not hear that this one is done", "error", err)
	}
	return nil
}

func (s *Server) give(l *line) error {
	list, done := s.options.Descriptors()
	defer done()
	if err := l.send(&message{Descriptors: len(list)}, nil); err != nil {
		return err
	}
	for _, d := range list {
		if err := l.send(&message{Kind: d.Kind}, d.Conn); err != nil {
			return err
		}
	}
	return nil
}
