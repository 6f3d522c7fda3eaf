package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/cmd/sluice/matcher"
	"github.com/sluice-proxy/sluice/controlplane"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/explain"
	"github.com/sluice-proxy/sluice/controlplane/identity"
	"github.com/sluice-proxy/sluice/dataplane/decode"
)

func newControlPlaneCommand() *cobra.Command {
	var opts controlplane.Options
	var level string
	cmd := &cobra.Command{
		Use:   "controlplane",
		Short: "Serve definitions to proxies over xDS",
		Long: `controlplane watches files and folders with definitions, and serves what they say
over xDS (ADS, state-of-the-world and delta) to the proxies that connect: Go proxies
and Envoys alike. A document that is bad is held back alone, and its last good
version is served on; with --state that holds across a restart.

The address of --listen carries xDS, and the API behind status, wait and explain;
that of --listen-ops carries /healthz, /readyz and /metrics.

Private keys of certificates go over xDS. So an address that is not loopback asks for
mutual TLS. With --trust-domain and --state the control plane is an authority itself:
'sluice token create' makes join tokens, and 'sluice bootstrap --token' joins with
one. With --tls-cert, --tls-key and --client-ca the certificates come from elsewhere.
A proxy's certificate must name its fleet and id: it can never fetch another fleet's
secrets. --insecure lifts that.

The API wants the token in --admin-token to change something, and that or the one in
--viewer-token to ask (or an operator's certificate, with --client-ca). With
--trust-domain both are made if none are given: identity/admin.token and
identity/viewer.token in --state.`,
		Example: example(
			"sluice controlplane -f conf --state /var/lib/sluice",
			"sluice controlplane -f conf --state /var/lib/sluice --listen 10.0.0.1:18000 --trust-domain example.org",
			"sluice controlplane -f conf --listen 10.0.0.1:18000 --tls-cert cp.crt --tls-key cp.key --client-ca ca.crt"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(opts.Paths) == 0 {
				return usagef("want -f: a file, a folder, or - for standard input")
			}
			if err := checkAuthority(cmd, &opts); err != nil {
				return err
			}
			logger, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			if opts.StateDir == "" {
				if err := checkPaths(opts.Paths); err != nil {
					return err
				}
			}
			opts.Stdin, opts.Logger, opts.Explain = cmd.InOrStdin(), logger, explainServed
			opts.Features = decode.Features()
			opts.Ready = func(xds, ops net.Addr) {
				where := []any{"xds", xds.String()}
				if ops != nil {
					where = append(where, "ops", ops.String())
				}
				logger.Info("control plane is ready", where...)
			}
			controlplane.SpareMemory()
			return controlplane.Run(cmd.Context(), opts)
		},
	}
	filesFlag(cmd, &opts.Paths)
	flags := cmd.Flags()
	flags.StringVar(&opts.Listen, "listen", defaultServer, "`address` for xDS and the API")
	flags.StringVar(&opts.ListenOps, "listen-ops", "127.0.0.1:18001", "`address` for health and metrics; empty for none")
	flags.StringVar(&opts.StateDir, "state", "", "`folder` that keeps the last good versions across restarts (default: none, in memory)")
	flags.StringVar(&opts.Identity.TLS.Certificate, "tls-cert", "", "PEM `file` with the control plane's certificate")
	flags.StringVar(&opts.Identity.TLS.Key, "tls-key", "", "PEM `file` with its key")
	flags.StringVar(&opts.Identity.TLS.ClientCA, "client-ca", "", "PEM `file` with the authorities that vouch for clients: mutual TLS")
	flags.StringVar(&opts.Identity.Authority.TrustDomain, "trust-domain", "", "be an authority for proxies of this `domain`, which need not be in DNS")
	flags.StringArrayVar(&opts.Identity.Authority.Names, "name", nil, "a DNS `name` or IP address by which proxies reach the control plane; repeats (default the host name, the address of --listen, and localhost)")
	flags.DurationVar(&opts.Identity.Authority.Lifetime, "cert-lifetime", 24*time.Hour, "how `long` certificates of the authority are good")
	flags.StringVar(&opts.Identity.Authority.Certificate, "ca-cert", "", "PEM `file` with the certificate that the authority signs with, and its chain up to the root (default: one of its own, in --state)")
	flags.StringVar(&opts.Identity.Authority.Key, "ca-key", "", "PEM `file` with the key of --ca-cert")
	flags.StringVar(&opts.Identity.AdminToken, "admin-token", "", "`file` with tokens that may change something by the API, one a line")
	flags.StringVar(&opts.Identity.ViewerToken, "viewer-token", "", "`file` with tokens that may only ask")
	flags.BoolVar(&opts.Identity.Insecure, "insecure", false, "allow an address that is not loopback without mutual TLS")
	logFlag(cmd, &level)
	return cmd
}

// checkAuthority refuses flags that would mean nothing.
func checkAuthority(cmd *cobra.Command, opts *controlplane.Options) error {
	if opts.Identity.Authority.TrustDomain == "" {
		for _, flag := range []string{"name", "cert-lifetime", "ca-cert", "ca-key"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s wants --trust-domain too", flag)
			}
		}
		return nil
	}
	if opts.StateDir == "" {
		return usagef("--trust-domain wants --state too: a folder that keeps the authority's key")
	}
	if opts.Identity.TLS != (identity.Files{}) {
		return usagef("--trust-domain makes the certificates itself: want no --tls-cert, --tls-key and --client-ca")
	}
	return nil
}

// explainServed answers ExplainRequests by what a control plane serves.
func explainServed(served *compile.Output, request *adminv1.ExplainRequest) ([]byte, error) {
	req := explain.Request{Fleet: request.GetFleet(), Method: request.GetMethod(), URL: request.GetUrl()}
	if text := request.GetSource(); text != "" {
		source, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("source: got %q, want an IP address", text)
		}
		req.Source = source
	}
	for _, h := range request.GetHeaders() {
		req.Header = append(req.Header, explain.Header{Name: h.GetName(), Value: h.GetValue()})
	}
	result, err := explain.Explain(served, matcher.New(), req)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

func logFlag(cmd *cobra.Command, level *string) {
	cmd.Flags().StringVarP(level, "log-level", "l", "info", "`level` that is logged at least: debug, info, warn or error")
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("-l: got %q, want debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
