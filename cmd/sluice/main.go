// Command sluice is the control plane, the proxy and the tools around them in one binary. This package wires: each
// command reads its flags and calls a room.
//
// Exit codes: 0 is fine; 1 is wrong input, or something that did not come true; 2 is wrong usage; 3 is a change that
// was asked about (plan --exit-code). Errors go to standard error, what was asked for to standard output.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// errReported ends a command with exit code 1 when what is wrong has been printed already.
var errReported = errors.New("already reported")

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

// usagef words wrong usage that only the command itself can see: exit code 2.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	// Until a command runs, what goes wrong is the command line: unknown commands, flags and arguments.
	running := false
	root.PersistentPreRun = func(*cobra.Command, []string) { running = true }
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errReported):
		return 1
	case !running, errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", cmd.CommandPath(), err, cmd.CommandPath())
		return 2
	default:
		fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), words(err.Error(), true))
		return 1
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "Many proxies, run from one place",
		Long: `sluice turns small declarative service definitions into xDS, and streams it to Go
proxies and to stock Envoy, which serve it alike.

Start with:
  sluice run -f DIR           a control plane and a proxy in one process
  sluice validate -f DIR      is it right?
  sluice plan -f DIR          what would change on the running fleet?
  sluice explain -f DIR GET https://shop.example.com/api
                              why does this request go there?

Exit codes: 0 fine; 1 wrong input, or something did not come true; 2 wrong usage;
3 something changes ('sluice plan --exit-code').`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: "serve", Title: "Serve:"},
		&cobra.Group{ID: "write", Title: "Write and check definitions:"},
		&cobra.Group{ID: "ask", Title: "Ask what is running:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("serve", newRunCommand(), newControlPlaneCommand(), newProxyCommand(), newBootstrapCommand(), newTokenCommand(), newRevokeCommand(), newCACommand(), newDemoUpstreamCommand())
	add("write", newValidateCommand(), newExpandCommand(), newSchemaCommand(), newDocsCommand(), newXDSCommand())
	add("ask", newPlanCommand(), newGetCommand(), newDescribeCommand(), newHistoryCommand(), newUndoCommand(), newExplainCommand(), newStatusCommand(), newWaitCommand())
	add("", newVersionCommand())
	return root
}

// example indents the lines of a help text's examples as cobra shows them.
func example(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
