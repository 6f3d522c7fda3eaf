package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take before a test gives up on it: generous, since the machine may be busy.
const Patience = 30 * time.Second

// Process is a running program and what it has written.
type Process struct {
	Name string

	tb   testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  *logBuffer
}

// Start starts a program; the test's end stops it with SIGTERM, and shows its log if the test failed.
func Start(tb testing.TB, name, binary string, args ...string) *Process {
	tb.Helper()
	return StartWith(tb, name, nil, binary, args...)
}

// StartWith is Start of a program that gets open files, as descriptors 3 and up.
func StartWith(tb testing.TB, name string, files []*os.File, binary string, args ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, tb: tb, done: make(chan struct{}), log: newLogBuffer()}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = p.log, p.log, files
	p.cmd.Env = append(os.Environ(), "SLUICE_SERVER=")
	// A test binary that panics or times out must not leave its children behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
		p.log.close()
	}()
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("---- log of %s (%s %s)\n%s", name, binary, strings.Join(args, " "), p.log.tail(60))
		}
	})
	return p
}

// Stop ends it with SIGTERM, and after 15 s with SIGKILL.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.tb.Errorf("%s did not end within 15 s of SIGTERM", p.Name)
		p.Kill()
	}
}

// Kill ends it with SIGKILL, as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.tb.Errorf("%s: %v", p.Name, err)
	}
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// RSS is its resident memory, in bytes.
func (p *Process) RSS() int {
	p.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Fatalf("%s: %v", p.Name, err)
	}
	m := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		p.tb.Fatalf("%s: no VmRSS in its status", p.Name)
	}
	kb, _ := strconv.Atoi(string(m[1])) // digits
	return kb << 10
}

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is its exit status, once Done.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log is all that it has written so far.
func (p *Process) Log() string { return p.log.String() }

// WaitLog waits until its log has a match for a pattern, and returns the match with its groups.
func (p *Process) WaitLog(pattern string) []string {
	p.tb.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for {
		text, changed := p.log.watch()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-p.done:
			if m := re.FindStringSubmatch(p.log.String()); m != nil {
				return m
			}
			p.tb.Fatalf("%s ended (%v) without %q in its log", p.Name, p.cmd.ProcessState, pattern)
		case <-ctx.Done():
			p.tb.Fatalf("%s: no %q in its log within %v", p.Name, pattern, Patience)
		}
	}
}

// Eventually asks until an answer is nil: first at once, then every 5 ms. It gives up after Patience, or when the
// process ended (p may be nil), and fails with the last error. It returns how long it took.
func Eventually(tb testing.TB, p *Process, what string, ask func() error) time.Duration {
	tb.Helper()
	start := time.Now()
	var ended <-chan struct{}
	if p != nil {
		ended = p.done
	}
	for {
		err := ask()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > Patience {
			tb.Fatalf("%s: not within %v: %v", what, Patience, err)
		}
		select {
		case <-ended:
			tb.Fatalf("%s: %s ended (%v): %v", what, p.Name, p.cmd.ProcessState, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Result is a command that has ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a program to its end, at most Patience.
func Run(tb testing.TB, binary string, args ...string) Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "SLUICE_SERVER=")
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatalf("%s %s: %v", binary, strings.Join(args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// MustRun is Run of what must end with 0; it returns its standard output.
func MustRun(tb testing.TB, binary string, args ...string) string {
	tb.Helper()
	r := Run(tb, binary, args...)
	if r.Code != 0 {
		tb.Fatalf("%s %s: exit status %d\n%s%s", binary, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// maxLog is how much of a log is kept: a proxy under load writes a line for each request.
const maxLog = 16 << 20

// logBuffer keeps what a process writes, the last of it if that is too much, and tells who waits for more.
type logBuffer struct {
	mu      sync.Mutex
	text    []byte        // guarded by mu
	changed chan struct{} // guarded by mu; closed and replaced at each write
	closed  bool          // guarded by mu
}

func newLogBuffer() *logBuffer { return &logBuffer{changed: make(chan struct{})} }

// Write appends.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.text = append(b.text, p...); len(b.text) > maxLog {
		b.text = append(b.text[:0], b.text[len(b.text)-maxLog/2:]...)
	}
	if !b.closed {
		close(b.changed)
		b.changed = make(chan struct{})
	}
	return len(p), nil
}

func (b *logBuffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.changed)
	}
}

func (b *logBuffer) watch() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text), b.changed
}

// String is all of it.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

func (b *logBuffer) tail(lines int) string {
	all := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(all) > lines {
		all = append([]string{fmt.Sprintf("… %d lines before", len(all)-lines)}, all[len(all)-lines:]...)
	}
	return strings.Join(all, "\n")
}
