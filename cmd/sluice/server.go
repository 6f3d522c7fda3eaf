package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity"
)

// defaultServer is where `sluice controlplane` listens if nothing else is said.
const defaultServer = "127.0.0.1:18000"

// serverFlags are how to reach a control plane.
type serverFlags struct {
	address, ca, cert, key, tokenFile string
}

func (s *serverFlags) add(cmd *cobra.Command) {
	s.addAddress(cmd)
	cmd.Flags().StringVar(&s.tokenFile, "token-file", "", "`file` with the token of the control plane's API (default $SLUICE_TOKEN_FILE)")
	cmd.Flag("ca").Usage += " (default $SLUICE_CA)"
}

// addAddress is add for who shows no token.
func (s *serverFlags) addAddress(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.address, "server", "", "`address` of the control plane (default $SLUICE_SERVER, else "+defaultServer+")")
	cmd.Flags().StringVar(&s.ca, "ca", "", "PEM `file` with the authorities that vouch for the control plane; asks for TLS")
	cmd.Flags().StringVar(&s.cert, "cert", "", "PEM `file` with this client's certificate, for mutual TLS")
	cmd.Flags().StringVar(&s.key, "key", "", "PEM `file` with its key")
}

// named is the address that was given, by flag or environment; empty if none was.
func (s *serverFlags) named() string { return cmp.Or(s.address, os.Getenv("SLUICE_SERVER")) }

// dial makes a client. It connects when it is first used.
func (s *serverFlags) dial() (adminv1.AdminServiceClient, *grpc.ClientConn, error) {
	creds, ca := insecure.NewCredentials(), cmp.Or(s.ca, os.Getenv("SLUICE_CA"))
	secure := ca != "" || s.cert != "" || s.key != ""
	if secure {
		cfg, err := clientTLS(ca, s.cert, s.key)
		if err != nil {
			return nil, nil, err
		}
		creds = credentials.NewTLS(cfg)
	}
	server := cmp.Or(s.named(), defaultServer)
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if path := cmp.Or(s.tokenFile, os.Getenv("SLUICE_TOKEN_FILE")); path != "" {
		token, err := identity.ReadToken(path)
		if err != nil {
			return nil, nil, fmt.Errorf("--token-file: %w", err)
		}
		if !secure && !onLoopback(server) {
			return nil, nil, usagef("--token-file: got plaintext to %s, want --ca: the token would be read on the way", server)
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer{token, secure}))
	}
	conn, err := grpc.NewClient("passthrough:///"+server, options...)
	if err != nil {
		return nil, nil, err
	}
	return adminv1.NewAdminServiceClient(conn), conn, nil
}

// bearer sends a token with each call.
type bearer struct {
	token  string
	secure bool
}

// GetRequestMetadata is part of credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity is part of credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return b.secure }

func onLoopback(server string) bool {
	host, _, _ := net.SplitHostPort(server)
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func clientTLS(ca, cert, key string) (*tls.Config, error) {
	if ca == "" {
		return nil, usagef("--cert and --key want --ca too")
	}
	if (cert == "") != (key == "") {
		return nil, usagef("--cert and --key belong together")
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: %s: no certificate in it, want PEM", ca)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// serverError words what a call to a control plane came to, with the remedy where there is one.
func (s *serverFlags) serverError(err error) error {
	where := cmp.Or(s.named(), defaultServer)
	st, _ := status.FromError(err)
	message := words(st.Message(), false) // a proxy's words may stand in it
	switch {
	case st.Code() == codes.Unavailable:
		why, remedy := reason(message), "Start one with 'sluice controlplane -f DIR', or name another with --server or SLUICE_SERVER"
		if secure := cmp.Or(s.ca, os.Getenv("SLUICE_CA")) != ""; !secure && strings.Contains(why, "EOF") {
			remedy = "If it wants TLS, give --ca or SLUICE_CA"
		} else if secure && strings.Contains(why, "first record does not look like a TLS handshake") {
			remedy = "It does not speak TLS: leave out --ca and SLUICE_CA"
		}
		return fmt.Errorf("no control plane answers at %s: %s\n%s", where, why, remedy)
	case st.Code() == codes.Unauthenticated:
		return fmt.Errorf("%s\nA token's file can stand in SLUICE_TOKEN_FILE, too", message)
	case st.Code() == codes.Unimplemented:
		return fmt.Errorf("%s answers, but is no Sluice control plane: %s", where, message)
	case errors.Is(err, context.Canceled), st.Code() == codes.Canceled:
		return errors.New("interrupted")
	}
	return errors.New(message)
}

// reason is what the network says in gRPC's words, without those.
func reason(text string) string {
	text = strings.TrimPrefix(text, "latest balancer error: ")
	if quoted, ok := strings.CutPrefix(text, "connection error: desc = "); ok {
		if plain, err := strconv.Unquote(quoted); err == nil {
			text = strings.TrimPrefix(plain, "transport: ")
		}
	}
	return text
}

// unreached: gRPC waited for a connection until the end.
func unreached(text string) bool { return strings.Contains(text, "latest balancer error: ") }

// askDocuments asks a control plane about documents, by a method such as adminv1.DefinitionServiceClient.List, and waits no longer
// than within.
func askDocuments[Request, Answer any](ctx context.Context, server *serverFlags, within time.Duration,
	method func(adminv1.DefinitionServiceClient, context.Context, Request, ...grpc.CallOption) (Answer, error), request Request,
) (answer Answer, err error) {
	_, conn, err := server.dial()
	if err != nil {
		return answer, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if answer, err = method(adminv1.NewDefinitionServiceClient(conn), ctx, request, grpc.MaxCallRecvMsgSize(maxAnswer)); err != nil {
		return answer, server.serverError(err)
	}
	return answer, nil
}
