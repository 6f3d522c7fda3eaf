// Command sluice-proxy is the data plane alone: it starts from Envoy's bootstrap file, and serves what its control plane
// sends.
//
// The first SIGTERM or SIGINT drains, the second ends at once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-proxy/sluice/dataplane/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(command.Main(ctx, "sluice-proxy", os.Args[1:], os.Stdout, os.Stderr))
}
