package main

import (
	"context"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/cmd/sluice/demo"
)

func newDemoUpstreamCommand() *cobra.Command {
	var listen, name string
	var tcp bool
	cmd := &cobra.Command{
		Use:   "demo-upstream",
		Short: "Serve a small upstream that tells what it saw",
		Long: `demo-upstream is something to route to while trying things out. It answers every
HTTP request with its own name and what it saw of the request: as JSON for those
who accept that, else as text. It speaks HTTP/1.1, and HTTP/2 with prior knowledge.
With --tcp it answers every line with its name and the line.`,
		Example: example(
			"sluice demo-upstream --listen 127.0.0.1:9001 --name v1",
			"sluice demo-upstream --listen 127.0.0.1:9100 --name echo --tcp"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "demo upstream %s on %s\n", name, l.Addr())
			return serveDemo(cmd.Context(), l, name, tcp)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9001", "`address` to listen on")
	cmd.Flags().StringVar(&name, "name", "demo", "the `name` that it gives itself")
	cmd.Flags().BoolVar(&tcp, "tcp", false, "answer lines in place of HTTP requests")
	return cmd
}

func serveDemo(ctx context.Context, l net.Listener, name string, tcp bool) error {
	if tcp {
		return demo.ServeTCP(ctx, l, name)
	}
	return demo.ServeHTTP(ctx, l, name)
}
