package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestCLI runs the scripts in testdata/cli: command lines that a user could type. `exits N CMD…` runs a command that
// must end with that code; $PORT1 to $PORT3 are free ports.
func TestCLI(t *testing.T) {
	bin := harness.Binaries(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cli",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			env.Setenv("SLUICE_SERVER", "")
			for i := range 3 {
				env.Setenv("PORT"+strconv.Itoa(i+1), strconv.Itoa(harness.FreePort(t)))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD...")
	}
	code, got := args[0], "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		status, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = strconv.Itoa(status.ExitCode())
	}
	if got != code {
		ts.Fatalf("exit code: got %s, want %s", got, code)
	}
}
