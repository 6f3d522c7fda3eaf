// Package certs makes what a TLS listener presents: certificates out of PEM, and the tls.Config of a filter chain.
//
// In: config's certificates and DownstreamTLS. Out: the tls.Config for the next handshake. It must not know where
// certificates come from, nor which connection asks.
//
// A Server is swapped as a whole: handshakes under way end with what they began with, and no connection is touched.
package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Parse makes a certificate that can be presented. Errors name the certificate, and what is wrong with which PEM.
func Parse(c *config.Certificate) (*tls.Certificate, error) {
	made, err := parse(c)
	if err != nil {
		return nil, fmt.Errorf("certs: certificate %q: %w", c.Name, err)
	}
	return made, nil
}

func parse(c *config.Certificate) (*tls.Certificate, error) {
	chain, err := parseCertificates(c.Chain)
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	made := &tls.Certificate{Leaf: chain[0]}
	for _, c := range chain {
		made.Certificate = append(made.Certificate, c.Raw)
	}
	block, err := keyBlock(c.Key)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(block)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	made.PrivateKey = key
	return made, matches(made.Leaf, key)
}

// parseCertificates reads the certificates of a PEM text: at least one. Other blocks, and text around them, are passed by, as Envoy
// does: `openssl x509 -text` writes some.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	blocks := 0
	for rest := text; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, parsed)
	}
	if bytes.Count(text, []byte("-----BEGIN ")) > blocks { // the decoder passes them by
		return nil, errors.New("a PEM block is cut short or damaged")
	}
	if len(all) == 0 {
		return nil, errors.New("no PEM block CERTIFICATE")
	}
	return all, nil
}

// keyBlock is the first block with a key: `openssl ecparam -genkey` writes EC PARAMETERS before it.
func keyBlock(text []byte) (*pem.Block, error) {
	found := ""
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block, nil
		}
		found = block.Type
	}
	if found != "" {
		return nil, fmt.Errorf("private key: got PEM block %q, want PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY", found)
	}
	return nil, errors.New("private key: no PEM block")
}

func parseKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is encrypted: not supported")
	}
	return nil, fmt.Errorf("got PEM block %q, want PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY", block.Type)
}

func matches(leaf *x509.Certificate, key any) error {
	var public interface{ Equal(crypto.PublicKey) bool }
	kind := ""
	switch k := key.(type) {
	case *rsa.PrivateKey:
		kind, public = "RSA", &k.PublicKey
	case *ecdsa.PrivateKey:
		kind, public = "ECDSA", &k.PublicKey
	case ed25519.PrivateKey:
		kind, public = "Ed25519", k.Public().(ed25519.PublicKey)
	default:
		return fmt.Errorf("private key: got %T, want RSA, ECDSA or Ed25519", key)
	}
	if leaf.PublicKeyAlgorithm.String() != kind {
		return fmt.Errorf("private key is %s, its certificate's is %s", kind, leaf.PublicKeyAlgorithm)
	}
	if !public.Equal(leaf.PublicKey) {
		return fmt.Errorf("private key does not match the certificate of %q", leaf.Subject)
	}
	return nil
}

// Server is a filter chain's side of TLS. Any goroutine may use it.
type Server struct {
	// scope binds tickets to who may resume them.
	scope   string
	current atomic.Pointer[served]
}

// served is what new handshakes get.
type served struct {
	config *tls.Config
	// tickets are those of config, and keys what was derived of them.
	tickets *Tickets
	keys    [][32]byte
	// scope is the Server's, and what decides which clients are taken.
	scope string
	// first is the first certificate; nil if there is none.
	first *x509.Certificate
}

// NewServer makes a Server without certificates: it refuses handshakes until Set. Sessions resume only within one scope
// (the chain's name): what was proven to one chain counts for no other.
func NewServer(scope string) *Server {
	s := &Server{scope: scope}
	s.Set(&config.DownstreamTLS{NoTickets: true}, nil, nil, nil)
	return s
}

// Config is for the next handshake; it is not to be changed.
func (s *Server) Config() *tls.Config { return s.current.Load().config }

// Presented is what is presented; of several, the first. It is nil if there is none.
func (s *Server) Presented() *x509.Certificate { return s.current.Load().first }

// Set swaps what new handshakes get. Without certificates they are refused. The first certificate serves names that fit
// none; among those that fit and that the client can verify, ECDSA and Ed25519 come before RSA, whose signatures cost
// ten times as much. trust is for cfg.Clients: without it handshakes are refused, since nobody could be told from a stranger.
// tickets may be nil if cfg has NoTickets.
func (s *Server) Set(cfg *config.DownstreamTLS, certificates []*tls.Certificate, trust *Trust, tickets *Tickets) {
	if certificates = slices.Clone(certificates); cfg.Clients != nil && trust == nil {
		certificates = nil
	}
	minimum := cfg.MinVersion
	if minimum == 0 {
		minimum = tls.VersionTLS12
	}
	next := &served{tickets: tickets, config: &tls.Config{
		MinVersion: minimum,
		MaxVersion: cfg.MaxVersion,
		NextProtos: slices.Clone(cfg.ALPN),
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return choose(certificates, hello)
		},

		CurvePreferences:       keyExchanges,
		SessionTicketsDisabled: cfg.NoTickets,
		// Small records at first would be a system call each.
		DynamicRecordSizingDisabled: true,
	}}
	next.scope = s.scope
	if len(certificates) > 0 {
		next.first = certificates[0].Leaf
	}
	if cfg.Clients != nil && trust != nil {
		trust.clients(next.config, cfg.Clients.Optional)
		next.scope += fmt.Sprintf(" clients %x %t", trust.digest, cfg.Clients.Optional)
	}
	if !cfg.NoTickets {
		next.resume(s.current.Load())
	}
	s.current.Store(next)
}

// keyExchanges leaves out what no browser needs and costs a millisecond: P-521, and the post-quantum ones over NIST's
// curves. crypto/tls orders them.
var keyExchanges = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

var errNoCertificate = errors.New("certs: no certificate for this filter chain")

func choose(certificates []*tls.Certificate, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(certificates) == 0 {
		return nil, errNoCertificate
	}
	if len(certificates) == 1 {
		return certificates[0], nil
	}
	var fallback *tls.Certificate
	for _, c := range certificates {
		if hello.SupportsCertificate(c) != nil {
			continue
		}
		if c.Leaf.PublicKeyAlgorithm != x509.RSA {
			return c, nil
		}
		if fallback == nil {
			fallback = c
		}
	}
	if fallback != nil {
		return fallback, nil
	}
	// No name fits: the first that the client can verify, whatever its name.
	nameless := *hello
	nameless.ServerName = ""
	for _, c := range certificates {
		if nameless.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return certificates[0], nil
}
