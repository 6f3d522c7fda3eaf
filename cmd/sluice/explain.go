package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/cmd/sluice/matcher"
	"github.com/sluice-proxy/sluice/controlplane/explain"
)

func newExplainCommand() *cobra.Command {
	var server serverFlags
	var paths, headers []string
	var fleet, from, output string
	cmd := &cobra.Command{
		Use:   "explain [METHOD] URL",
		Short: "Say where a request would go, and why",
		Long: `explain says where a request would go: the listener and filter chain that take it,
the rule that matches with its file and line, the services and their shares, and why
the rules that were asked before did not match.

With -f it answers by files, with --server (or SLUICE_SERVER) by what a running
control plane serves. Both ask the matcher that the proxies run.

The URL's port chooses the listener. Without one any listener of its scheme may
answer, since a port may be mapped in front of it. For TCP write tcp://host:port.`,
		Example: example(
			"sluice explain -f examples/quickstart GET https://localhost:8443/",
			"sluice explain -f conf POST https://shop.example.com/api/x -H 'x-beta: 1'",
			"sluice explain --server 127.0.0.1:18000 GET https://shop.example.com/ -o json"),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := explain.Request{Fleet: fleet, Method: "GET", URL: args[len(args)-1]}
			if len(args) == 2 {
				req.Method = args[0]
			}
			if from != "" {
				source, err := netip.ParseAddr(from)
				if err != nil {
					return usagef("--from: got %q, want an IP address", from)
				}
				req.Source = source
			}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok || strings.TrimSpace(name) == "" {
					return usagef("-H: got %q, want 'name: value'", h)
				}
				req.Header = append(req.Header, explain.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
			}
			result, err := explainBy(cmd, paths, &server, req)
			if err != nil && !errors.Is(err, errReported) {
				return err
			}
			if output == "" {
				return cmp.Or(result.Write(cmd.OutOrStdout()), err)
			}
			text, failed := json.Marshal(result)
			if failed != nil {
				return failed
			}
			return cmp.Or(writeJSON(cmd.OutOrStdout(), output, text), err)
		},
	}
	filesFlag(cmd, &paths)
	server.add(cmd)
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "a request header, `'name: value'`; may be given several times")
	cmd.Flags().StringVar(&from, "from", "", "the client's IP `address` (default 127.0.0.1)")
	cmd.Flags().StringVar(&fleet, "fleet", "", "the `fleet` (default any)")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

// explainBy asks files or a server. With errReported there is a result, by what is right of the files.
func explainBy(cmd *cobra.Command, paths []string, server *serverFlags, req explain.Request) (*explain.Result, error) {
	if len(paths) > 0 {
		if server.address != "" {
			return nil, usageError{errOneOf}
		}
		built, err := build(cmd, paths)
		if err != nil {
			return nil, err
		}
		bad := reportErrors(cmd, built)
		result, err := explain.Explain(built.Compiled, matcher.New(), req)
		return result, cmp.Or(err, bad)
	}
	if server.named() == "" {
		return nil, usageError{errOneOf}
	}
	client, conn, err := server.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
	defer cancel()
	request := &adminv1.ExplainRequest{Fleet: req.Fleet, Method: req.Method, Url: req.URL}
	if req.Source.IsValid() {
		request.Source = req.Source.String()
	}
	for _, h := range req.Header {
		request.Headers = append(request.Headers, &adminv1.Header{Name: h.Name, Value: h.Value})
	}
	response, err := client.Explain(ctx, request)
	if err != nil {
		return nil, server.serverError(err)
	}
	var result explain.Result
	return &result, json.Unmarshal(response.GetJson(), &result)
}
