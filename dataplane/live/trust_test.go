package live

import (
	"crypto/tls"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// TestClientCertificates: without the authorities nobody is taken; others drain nobody; another rule for who is taken drains.
func TestClientCertificates(t *testing.T) {
	r := newRuntime(t)
	known, stranger := selfSigned(t, "known", "known.test"), selfSigned(t, "stranger", "stranger.test")
	mutual := func(change func(*config.Clients)) *config.Config {
		c := makeConfig(map[string]config.Endpoint{"a": origin(t, "a")})
		chain := httpChain("shop", "t", "shop.test")
		chain.TLS.Clients = &config.Clients{Trust: config.Trust{Name: "trust/ca"}}
		if change != nil {
			change(chain.TLS.Clients)
		}
		c.Listeners["web"] = on("web", freePort(t), chain)
		c.RouteTables["t"] = table("t", "a")
		c.Certificates["shop"] = selfSigned(t, "shop", "shop.test")
		c.Validations = map[string]*config.Validation{"trust/ca": {Authorities: known.Chain}}
		return c
	}
	whole := mutual(nil)
	without := *whole
	without.Validations = nil
	apply(t, r, &without)
	as := func(c *config.Certificate) *client {
		cl := newClient(t, r.addressOf(t, "web"), "https", "http/1.1")
		cl.transport.TLSClientConfig.ServerName = "shop.test"
		if c != nil {
			pair, err := tls.X509KeyPair(c.Chain, c.Key)
			if err != nil {
				t.Fatal(err)
			}
			cl.transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		return cl
	}
	refused := func(step string, c *config.Certificate) {
		t.Helper()
		if got, err := as(c).get("shop.test", "/"); err == nil {
			t.Errorf("%s: got %s, want a refusal", step, got)
		}
	}
	refused("without authorities", known)
	apply(t, r, whole)
	refused("without a certificate", nil)
	refused("with a stranger's", stranger)
	eventually(t, "it is counted", func() bool { return r.View().Listeners[0].BadClientCertificates == 1 })
	held := as(known)
	held.want(t, "shop.test", "/", "HTTP/1.1 200 a GET /")
	accepted := r.total(t, "web")

	others := *whole
	others.Validations = map[string]*config.Validation{"trust/ca": {Authorities: stranger.Chain}}
	apply(t, r, &others)
	held.want(t, "shop.test", "/", "HTTP/1.1 200 a GET /")
	wantConnections(t, r, "web", accepted)
	refused("with what was known", known)
	as(stranger).want(t, "shop.test", "/", "HTTP/1.1 200 a GET /")

	accepted = r.total(t, "web")
	changed := *whole
	l := *whole.Listeners["web"]
	chain := *l.Chains[0]
	secure := *chain.TLS
	secure.Clients = &config.Clients{Trust: config.Trust{Name: "trust/ca", Own: &config.Validation{Names: []config.AltName{{Text: config.Text{Value: "known.test"}}}}}}
	chain.TLS, l.Chains = &secure, []*config.FilterChain{&chain}
	changed.Listeners = map[string]*config.Listener{"web": &l}
	apply(t, r, &changed)
	eventually(t, "what was taken under another rule must come again", func() bool {
		_, _ = held.get("shop.test", "/")
		return r.total(t, "web") > accepted
	})
}
