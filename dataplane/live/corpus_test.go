package live

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
)

// corpusProxy is a proxy in front of a raw origin, on a listener that serves HTTP/1.0 and on one that does not.
func corpusProxy(t *testing.T) *http1test.Proxy {
	t.Helper()
	origin, err := http1test.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(origin.Close)
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"origin": {Address: config.At(netip.MustParseAddrPort(origin.Addr)), Weight: 1}})
	c.RouteTables["rt"] = table("rt", "origin")
	for _, name := range []string{"web", "http10"} {
		chain := httpChain(name, "rt")
		chain.HTTP.UseRemoteAddress, chain.HTTP.GenerateRequestID, chain.HTTP.NormalizePath = true, true, true
		chain.HTTP.AcceptHTTP10 = name == "http10"
		c.Listeners[name] = on(name, "127.0.0.1:0", chain)
	}
	apply(t, r, c)
	return &http1test.Proxy{Origin: origin, Addr: r.addressOf(t, "web"), HTTP10: r.addressOf(t, "http10"),
		Patience: 20 * time.Second, Pause: 10 * time.Second}
}

// TestCorpus plays each case of the corpus through the proxy, from a raw client to a raw origin: what a client sends as a
// whole and byte by byte.
func TestCorpus(t *testing.T) {
	proxy := corpusProxy(t)
	count := 0
	for _, dir := range []string{"requests", "answers"} {
		cases, err := http1test.Load("../http1/testdata/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		count += len(cases)
		for _, c := range cases {
			for _, bytewise := range []bool{false, true} {
				if bytewise && (c.IsAnswer || len(c.Bytes()) > 4<<10) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%v", dir, c.ID(), bytewise), func(t *testing.T) {
					result, err := proxy.Play(c, bytewise)
					if err != nil {
						t.Fatal(err)
					}
					if problems := c.Judge(result, true); len(problems) > 0 {
						t.Errorf("%s\nRFC %s: %s\n%.1000q\n%+v", strings.Join(problems, "\n"), c.RFC, c.Why, c.Bytes(), result)
					}
				})
			}
		}
	}
	if count < 250 {
		t.Errorf("%d cases, want 250 at least", count)
	}
}
