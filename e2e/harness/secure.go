package harness

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// signers are a stage's authorities, and what they have signed. A certificate's name is "ca/a.test+spiffe://b/c": the
// authority, and the names that it is for, of which the first is its common name. "expired" among them makes it old, and "cn:x" is its
// common name and nothing else.
type signers struct {
	mu          sync.Mutex
	authorities map[string]*Authority // guarded by mu
	made        map[string]signed     // guarded by mu
	dir         string                // guarded by mu
	files       map[string]string     // guarded by mu; paths by content
}

type signed struct{ certificate, key string }

func (s *signers) authority(tb testing.TB, name string) *Authority {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.authorities == nil {
		s.authorities = map[string]*Authority{}
	}
	if s.authorities[name] == nil {
		s.authorities[name] = NewAuthority(tb)
	}
	return s.authorities[name]
}

// Authority is one of the stage's, by its name.
func (s *Stage) Authority(tb testing.TB, name string) *Authority {
	tb.Helper()
	return s.signers.authority(tb, name)
}

func (s *signers) signed(tb testing.TB, name string) signed {
	tb.Helper()
	by, names, _ := strings.Cut(name, "/")
	authority := s.authority(tb, by)
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.made[name]; ok {
		return have
	}
	template := &x509.Certificate{}
	for n := range strings.SplitSeq(names, "+") {
		if cn, ok := strings.CutPrefix(n, "cn:"); ok {
			template.Subject.CommonName = cn
			continue
		}
		switch u, err := url.Parse(n); {
		case n == "expired":
			template.NotAfter = time.Now().Add(-time.Minute)
		case err == nil && u.Scheme != "":
			template.URIs = append(template.URIs, u)
		default:
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	first, _, _ := strings.Cut(names, "+")
	if template.Subject.CommonName == "" {
		template.Subject.CommonName = first
	}
	var made signed
	made.certificate, made.key = authority.sign(tb, template)
	if s.made == nil {
		s.made = map[string]signed{}
	}
	s.made[name] = made
	return made
}

// write puts text in a file of its own, beside the definitions.
func (s *signers) write(tb testing.TB, text string) string {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if path, ok := s.files[text]; ok {
		return path
	}
	if s.files == nil {
		s.dir, s.files = tb.TempDir(), map[string]string{}
	}
	path := filepath.Join(s.dir, strconv.Itoa(len(s.files))+".pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.files[text] = path
	return path
}

var hashPattern = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// mask puts <hash> for the SHA-256 of a certificate that was made here.
func (s *signers) mask(value string) string {
	return hashPattern.ReplaceAllStringFunc(value, func(hash string) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, made := range s.made {
			block, _ := pem.Decode([]byte(made.certificate))
			if digest := sha256.Sum256(block.Bytes); hex.EncodeToString(digest[:]) == hash {
				return "<hash>"
			}
		}
		return hash
	})
}

func (s *signers) pair(tb testing.TB, name string) *tls.Certificate {
	tb.Helper()
	made := s.signed(tb, name)
	pair, err := tls.X509KeyPair([]byte(made.certificate), []byte(made.key))
	if err != nil {
		tb.Fatal(err)
	}
	return &pair
}

// protocols are what the kinds of upstreams agree on by ALPN.
var protocols = map[string][]string{"upstream": {"http/1.1"}, "h2c": {"h2"}}

func (s *signers) server(tb testing.TB, kind, name string) *tls.Config {
	tb.Helper()
	return &tls.Config{Certificates: []tls.Certificate{*s.pair(tb, name)}, NextProtos: protocols[kind]}
}

func (s *signers) mutual(tb testing.TB, kind, name string) *tls.Config {
	tb.Helper()
	cfg := s.server(tb, kind, name)
	by, _, _ := strings.Cut(name, "/")
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	cfg.ClientCAs.AppendCertsFromPEM([]byte(s.authority(tb, by).PEM))
	return cfg
}

// WantTLS lets an upstream that New makes speak TLS, and record what the proxy asked for.
func WantTLS(cfg *tls.Config) func(*Upstream) {
	return func(u *Upstream) { u.listener = tls.NewListener(u.listener, cfg) }
}

// secure is the address of an upstream that speaks TLS, as a kind behind the PROXY protocol's header if "proxied-" stands before it.
func (s *Stage) secure(tb testing.TB, kind, name, cert string, config func(testing.TB, string, string) *tls.Config) string {
	tb.Helper()
	if s.Upstreams[name] == nil {
		var options []func(*Upstream)
		kind, proxied := strings.CutPrefix(kind, "proxied-")
		if proxied {
			options = append(options, WantHeader)
		}
		s.Upstreams[name] = makers[kind](tb, name, append(options, WantTLS(config(tb, kind, cert)))...)
	}
	return s.Upstreams[name].Addr
}

// secured notes what is known of a connection's TLS, if it has any.
func (s *Seen) secured(c net.Conn) {
	secure, ok := c.(*tls.Conn)
	if !ok {
		return
	}
	state := secure.ConnectionState()
	s.SNI, s.ALPN = state.ServerName, state.NegotiatedProtocol
	if len(state.PeerCertificates) > 0 {
		s.Client = state.PeerCertificates[0].Subject.CommonName
	}
}
