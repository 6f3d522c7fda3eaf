package live

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// resumes makes one request on a connection of its own.
func resumes(t *testing.T, address string, client *tls.Config) bool {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
	// The ticket comes with the answer.
	if answer, err := io.ReadAll(conn); err != nil || !strings.Contains(string(answer), "one GET") {
		t.Fatalf("got %q and error %v", answer, err)
	}
	return conn.ConnectionState().DidResume
}

// TestTicketKeys: a session goes with the client from one proxy of a fleet to the next, through changes of the
// configuration and a rotation, and to no other fleet.
func TestTicketKeys(t *testing.T) {
	upstream := origin(t, "one")
	certificate := selfSigned(t, "a", "a.test")
	keys := func(letters string) *config.TicketKeys {
		k := &config.TicketKeys{Name: "tickets"}
		for _, c := range letters {
			k.Keys = append(k.Keys, config.Secret(strings.Repeat(string(c), config.TicketKeySize)))
		}
		return k
	}
	configure := func(letters string, change func(c *config.FilterChain)) *config.Config {
		cfg := makeConfig(map[string]config.Endpoint{"one": upstream})
		chain := httpChain("a", "t", "a.test")
		chain.TLS.ALPN, chain.TLS.TicketKeysName = []string{"http/1.1"}, "tickets"
		if change != nil {
			change(chain)
		}
		cfg.Listeners["l"] = on("l", "127.0.0.1:0", chain)
		cfg.RouteTables["t"] = table("t", "one")
		cfg.Certificates["a"] = certificate
		if letters != "" {
			cfg.TicketKeys = map[string]*config.TicketKeys{"tickets": keys(letters)}
		}
		return cfg
	}
	a, b, stranger := newRuntime(t), newRuntime(t), newRuntime(t)
	client := &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, step := range []struct {
		at      *Runtime
		cfg     *config.Config
		resumes bool
	}{
		{a, configure("12", nil), false},
		{b, configure("12", nil), true},
		// The proxies rotate one after the other.
		{a, configure("231", nil), true},
		{b, nil, true},
		{a, nil, true},
		{stranger, configure("89", nil), false},
		{stranger, nil, true},
		{a, nil, false},
		// Whatever else changes, the session stays.
		{a, configure("231", func(c *config.FilterChain) { c.HTTP.MaxHeaderCount = 7 }), true},
		{a, configure("231", func(c *config.FilterChain) { c.TLS.MinVersion = tls.VersionTLS13 }), true},
		// Without keys, sessions are the process's own.
		{a, configure("", nil), false},
		{a, configure("", nil), true},
		{b, nil, false},
		{b, configure("", func(c *config.FilterChain) { c.TLS.TicketKeys = keys("1") }), true},
		{b, configure("12", func(c *config.FilterChain) { c.TLS.NoTickets = true }), false},
	} {
		if step.cfg != nil {
			apply(t, step.at, step.cfg)
		}
		if got := resumes(t, step.at.addressOf(t, "l"), client); got != step.resumes {
			t.Errorf("step %d: resumed %v, want %v", i, got, step.resumes)
		}
	}
}
