// Package harness runs the real thing on loopback for the end-to-end tests: it builds sluice and sluice-proxy once,
// starts them and stock Envoy as processes on free ports, gives them upstreams that record what they see, and reads
// scenarios and compares what two proxies do with them.
//
// In: a testing.TB, which ends everything that it started, and shows the logs if the test failed. Out: running
// processes and what they answered. It waits for events (a log line, readiness, an answer), never for a time. It
// must not know the packages that it tests: everything goes through the command line, files and sockets.
package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var built struct {
	sync.Once
	dir string
	err error
}

// Main runs the tests of a package, and removes what Binaries built. Call it from TestMain.
func Main(m *testing.M) int {
	// net/http's HTTP/2 server takes extended CONNECT only if it is told so before it begins.
	const extendedConnect = "http2xconnect=1"
	if debug := os.Getenv("GODEBUG"); !strings.Contains(debug, extendedConnect) {
		_ = os.Setenv("GODEBUG", strings.TrimPrefix(debug+","+extendedConnect, ","))
		if self, err := os.Executable(); err == nil {
			err = syscall.Exec(self, os.Args, os.Environ())
			fmt.Fprintln(os.Stderr, "start again with GODEBUG:", err)
		}
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	return code
}

// Binaries is the folder that holds sluice and sluice-proxy, built from this tree; SLUICE_E2E_RACE=1 builds them with
// the race detector.
func Binaries(tb testing.TB) string {
	tb.Helper()
	built.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "sluice-e2e-")
		if built.err != nil {
			return
		}
		args := []string{"build", "-o", built.dir + string(filepath.Separator)}
		if os.Getenv("SLUICE_E2E_RACE") == "1" {
			args = append(args, "-race")
		}
		args = append(args, "./cmd/sluice", "./cmd/sluice-proxy")
		cmd := exec.Command("go", args...)
		cmd.Dir = Root(tb)
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return built.dir
}

// Root is the folder of go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("harness: no go.mod above the test")
		}
		dir = parent
	}
}

// EnvoyBinary is stock Envoy: $SLUICE_ENVOY, or where `make envoy` puts it. Without it the test fails: a suite that
// skips one of two proxies proves nothing.
func EnvoyBinary(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv("SLUICE_ENVOY")
	if path == "" {
		path = filepath.Join(Root(tb), ".cache", "envoy", "envoy", "_bin", "envoy")
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		tb.Fatalf("no Envoy at %s: run `make envoy`, or name an Envoy 1.40 in SLUICE_ENVOY", path)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if info.Mode()&0o111 == 0 {
		if err := os.Chmod(path, 0o755); err != nil {
			tb.Fatalf("Envoy at %s cannot be executed: %v", path, err)
		}
	}
	return path
}
