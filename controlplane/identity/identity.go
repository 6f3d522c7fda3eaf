// Package identity says who may be which proxy, by the TLS certificate of the client, and who may ask and change what, by
// a certificate or a token.
//
// In: a TLS configuration's files or an authority, files of tokens, and the certificates and tokens of peers. Out:
// credentials, and refusals: where a certificate does not match the node that a client says it is, so that a proxy can
// never fetch another fleet's secrets, and of every method that one table does not allow. It must not know what is
// served to whom, nor how certificates are made (package authority).
package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sluice-proxy/sluice/xds/server"
)

// Files are PEM files. Certificate and Key are the server's own; clients must present a certificate that ClientCA
// signed, if it is set.
type Files struct {
	Certificate, Key, ClientCA string
}

// recheck is how often at most the files are looked at again.
const recheck = 10 * time.Second

// ServerConfig loads the files, and loads them again when they change, so that certificates are renewed without a
// restart. While what is on disk is bad, the last good ones serve on.
func ServerConfig(f Files) (*tls.Config, error) {
	if f.Certificate == "" || f.Key == "" {
		return nil, errors.New("identity: got no certificate or no key, want both")
	}
	l := &loader{files: f}
	if _, err := l.get(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return l.get()
		},
	}, nil
}

type loader struct {
	files Files // read-only

	// Guarded by mu.
	mu     sync.Mutex
	config *tls.Config
	looked time.Time
}

func (l *loader) get() (*tls.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.config != nil && time.Since(l.looked) < recheck {
		return l.config, nil
	}
	l.looked = time.Now()
	fresh, err := l.load()
	if err == nil {
		l.config = fresh
	}
	if l.config == nil {
		return nil, err
	}
	return l.config, nil
}

func (l *loader) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(l.files.Certificate, l.files.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: %s and %s: %w", l.files.Certificate, l.files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
	if l.files.ClientCA != "" {
		pem, err := os.ReadFile(l.files.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("identity: %s: got no certificate in PEM, want the CA of the clients", l.files.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// authorizeProxy lets a client be the node that it says it is if its certificate says so too: by a URI
// spiffe://<domain>/fleet/<fleet>/proxy/<id>, or, where any domain is taken, by the DNS name <id>.<fleet>.
func authorizeProxy(ctx context.Context, node server.Node, domain string) error {
	leaf, err := peerCertificate(ctx)
	if err != nil {
		return err
	}
	for _, uri := range leaf.URIs {
		if spiffe(uri, domain) == "/fleet/"+node.Cluster+"/proxy/"+node.ID && !strings.Contains(node.Cluster+node.ID, "/") {
			return nil
		}
	}
	if domain != "" {
		return status.Errorf(codes.PermissionDenied, "the client's certificate is for %s, and the node is %s in fleet %s: want the URI spiffe://%s/fleet/%s/proxy/%s",
			names(leaf), node.ID, node.Cluster, domain, node.Cluster, node.ID)
	}
	for _, name := range leaf.DNSNames {
		if strings.EqualFold(name, node.ID+"."+node.Cluster) && !strings.Contains(node.Cluster, ".") {
			return nil
		}
	}
	return status.Errorf(codes.PermissionDenied, "the client's certificate is for %s, and the node is %s in fleet %s: want the URI spiffe://<any>/fleet/%s/proxy/%s or the DNS name %s.%s",
		names(leaf), node.ID, node.Cluster, node.Cluster, node.ID, node.ID, node.Cluster)
}

// spiffe is the path of a SPIFFE ID of a domain, or of any if that is empty; "" if it is none. What such an ID may not have is
// none: a user, a port, percent-encoding (behind which a slash could hide).
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity
func spiffe(uri *url.URL, domain string) string {
	if uri.Scheme != "spiffe" || uri.Host == "" || uri.Host != uri.Hostname() || uri.User != nil || uri.RawQuery != "" || uri.ForceQuery || uri.Fragment != "" ||
		uri.Opaque != "" || strings.Contains(uri.EscapedPath(), "%") || (domain != "" && uri.Host != domain) {
		return ""
	}
	return uri.Path
}

func peerCertificate(ctx context.Context) (*x509.Certificate, error) {
	p, ok := peer.FromContext(ctx)
	if ok {
		if info, ok := tlsInfo(p); ok && len(info.State.VerifiedChains) > 0 && len(info.State.VerifiedChains[0]) > 0 {
			return info.State.VerifiedChains[0][0], nil
		}
	}
	return nil, errNoCertificate
}

func names(leaf *x509.Certificate) string {
	var all []string
	for _, uri := range leaf.URIs {
		all = append(all, uri.String())
	}
	all = append(all, leaf.DNSNames...)
	if len(all) == 0 {
		return "no URI and no DNS name"
	}
	return strings.Join(all[:min(5, len(all))], ", ")
}
