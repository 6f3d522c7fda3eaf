package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Server waits for the next process.
type Server struct {
	options  Options
	listener *net.UnixListener
	// file is the socket in the file system, by which Close knows it from that of the next.
	file os.FileInfo
	// busy: somebody is taking over.
	busy   atomic.Bool
	closed sync.Once
}

// Listen opens the socket, in place of whatever socket is there.
func Listen(options Options) (*Server, error) {
	if options.Patience <= 0 {
		options.Patience = defaultPatience
	}
	s := &Server{options: options}
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
		if !s.busy.CompareAndSwap(false, true) {
			l := &line{conn}
			// What is not read would reset the connection, and our answer with it.
			if _, _, err := l.receive(helloTime); err == nil {
				_ = l.send(&message{Refused: "another process is taking over"}, nil) // else it sees the end
			}
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
			defer s.busy.Store(false)
			defer conn.Close()
			// If this one ends before, the next sees that, and that nobody is at the path (ErrGone).
			stop := context.AfterFunc(ctx, func() {
				s.Close()
				_ = conn.Close()
			})
			defer stop()
			switch pid, err := s.hand(&line{conn}, stop); {
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

// hand gives everything to the next process. It yields only if that is ready; stays tells whether this one has not ended
// meanwhile, and is called once, after which its end does not disturb.
func (s *Server) hand(l *line, stays func() bool) (pid int, err error) {
	pid, err = l.trusted()
	if err != nil {
		return pid, err
	}
	hello, _, err := l.receive(answerTime)
	if err != nil {
		return pid, err
	}
	me := s.options.Me
	if hello.Node != me.Node || hello.Fleet != me.Fleet {
		err = fmt.Errorf("this is node %q of fleet %q, and the next is node %q of fleet %q", me.Node, me.Fleet, hello.Node, hello.Fleet)
		return pid, errors.Join(err, l.send(&message{Refused: err.Error()}, nil))
	}
	s.options.Logger.Info("the next process is here", "pid", pid, "version", hello.Version)
	if err := s.give(l); err != nil {
		return pid, err
	}
	ready, _, err := l.receive(s.options.Patience)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("it was not ready within %v", s.options.Patience)
		return pid, errors.Join(err, l.send(&message{Refused: err.Error()}, nil))
	case err != nil:
		return pid, fmt.Errorf("it has gone before it was ready: %w", err)
	case !ready.Ready:
		return pid, errors.New("got another message than that it is ready")
	case !stays():
		return pid, errors.New("this process ends")
	}
	s.options.Yield(pid)
	// The next one's socket is about to stand at the path.
	s.Close()
	if err := l.send(&message{Yours: true}, nil); err != nil {
		// It was ready, and has everything: it must do without our word (ErrGone).
		s.options.Logger.Warn("the next process did not hear that this one is done", "error", err)
	}
	return pid, nil
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
