package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sluice-proxy/sluice/dataplane/systemd"
)

// manager tells the service manager what becomes of the process, and starts the next one.
type manager struct {
	// program is what is started: the path by which this one was, not the file that it was then, so that what has been put in
	// its place is found.
	program string
	// takesOver: the next one can, since there is a socket for it.
	takesOver bool
	logger    *slog.Logger

	mu sync.Mutex
	// next is the process that was started to take over, nil if none is under way; over: one has. Guarded by mu.
	next *exec.Cmd
	over bool
}

func newManager(takesOver bool, logger *slog.Logger) *manager {
	m := &manager{takesOver: takesOver, logger: logger}
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable() // replace says what is wrong with it
	}
	m.program = path
	return m
}

// watch starts the next process at each SIGUSR2, until the function that it returns is called.
func (m *manager) watch() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-signals:
				if err := m.replace(); err != nil {
					m.logger.Error("SIGUSR2: no other process is started", "error", err)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		cancel()
		wg.Wait()
	}
}

// replace starts the program again, with the same arguments: it takes over when it is ready.
func (m *manager) replace() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.takesOver:
		return errors.New("want --handover PATH")
	case os.Getpid() == 1:
		return errors.New("this is process 1: its end would be that of its container")
	case m.over:
		return errors.New("another process has taken over already")
	case m.next != nil:
		return fmt.Errorf("process %d is under way", m.next.Process.Pid)
	}
	cmd := exec.Command(m.program, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	m.next = cmd
	m.tell(append(systemd.Reloading(), fmt.Sprintf("STATUS=process %d is taking over", cmd.Process.Pid))...)
	m.logger.Info("SIGUSR2: starting the next process", "program", m.program, "pid", cmd.Process.Pid)
	go m.await(cmd)
	return nil
}

// await hears of a next process that ends before it has taken over.
func (m *manager) await(cmd *exec.Cmd) {
	err := cmd.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = nil
	if m.over {
		return
	}
	m.logger.Error("the next process has ended before it took over; this one goes on", "pid", cmd.Process.Pid, "state", cmd.ProcessState, "error", err)
	m.tell("READY=1", "STATUS=serving; the next process has failed")
}

func (m *manager) ready() {
	m.tell("READY=1", "STATUS=serving")
}

// yielded: from now on the service is that process.
func (m *manager) yielded(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	if pid > 0 {
		m.tell(fmt.Sprintf("MAINPID=%d", pid), "READY=1")
	}
}

func (m *manager) draining() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over { // else the service goes on
		m.tell("STOPPING=1", "STATUS=draining")
	}
}

func (m *manager) tell(lines ...string) {
	if err := systemd.Notify(lines...); err != nil {
		m.logger.Warn("the service manager cannot be told", "error", err)
	}
}
