package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/sluice-proxy/sluice/e2e/harness"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// joined is a control plane that is an authority itself.
type joined struct {
	*harness.ControlPlane
	pair *pair
	t    *testing.T
	// secrets are what must stand nowhere.
	secrets []string
}

func startAuthority(t *testing.T, args ...string) *joined {
	t.Helper()
	return startAuthorityOf(t, splitDefinitions, args...)
}

// startAuthorityOf is startAuthority with other definitions.
func startAuthorityOf(t *testing.T, definitions string, args ...string) *joined {
	t.Helper()
	p := stagePairOf(t, definitions)
	p.cp = harness.StartControlPlane(t, p.stage.Dir, append([]string{"--trust-domain", "e2e.test"}, args...)...)
	j := &joined{p.cp, p, t, nil}
	j.secret(j.identity("admin.token"))
	j.secret(j.identity("viewer.token"))
	return j
}

// identity is a file of the authority's.
func (j *joined) identity(name string) string { return filepath.Join(j.State, "identity", name) }

// secret takes what is in a file for a secret.
func (j *joined) secret(path string) {
	j.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		j.t.Fatal(err)
	}
	j.secrets = append(j.secrets, strings.TrimSpace(string(text)))
}

func (j *joined) as(token string, args ...string) []string {
	return append(args, "--ca", j.identity("ca.crt"), "--token-file", j.identity(token))
}

// token makes a join token.
func (j *joined) token(args ...string) string {
	j.t.Helper()
	token := strings.TrimSpace(j.Sluice(j.as("admin.token", append([]string{"token", "create"}, args...)...)...))
	j.secrets = append(j.secrets, token)
	return token
}

// join runs `sluice bootstrap --token`, and gives the folder, and what came of it.
func (j *joined) join(token string, args ...string) (dir string, result harness.Result) {
	j.t.Helper()
	dir = filepath.Join(j.t.TempDir(), "proxy")
	return dir, harness.Run(j.t, filepath.Join(harness.Binaries(j.t), "sluice"),
		append([]string{"bootstrap", "--server", j.Addr, "--token", token, "--dir", dir}, args...)...)
}

// start joins and starts a proxy.
func (j *joined) start(kind, fleet, id string) (dir string, proxy *harness.Proxy) {
	j.t.Helper()
	admin := harness.Loopback(j.t)
	dir, r := j.join(j.token("--fleet", fleet, "--id", id), "--admin", admin)
	if r.Code != 0 {
		j.t.Fatalf("bootstrap: exit code %d: %s", r.Code, r.Stderr)
	}
	proxy = harness.StartProxyFrom(j.t, kind, filepath.Join(dir, "bootstrap.yaml"), admin)
	proxy.WaitReady()
	return dir, proxy
}

// keys are the private keys in texts, a line of each.
var keyLine = regexp.MustCompile(`PRIVATE KEY-----(?:\\n|\n)(\S{20})`)

// hidden fails if a secret stands in a text.
func (j *joined) hidden(where, text string) {
	j.t.Helper()
	for _, s := range j.secrets {
		if strings.Contains(text, s) {
			j.t.Errorf("%s: a secret stands in it", where)
		}
	}
	if keyLine.MatchString(text) {
		j.t.Errorf("%s: a private key stands in it", where)
	}
}

// TestJoin: proxies of both kinds join by a token, serve their fleet, and get no other's.
func TestJoin(t *testing.T) {
	j := startAuthority(t)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			j := &joined{j.ControlPlane, j.pair, t, j.secrets}
			dir, proxy := j.start(kind, kind, "one")
			j.Sluice(j.as("viewer.token", "wait", "--fleet", kind)...)
			status := j.Sluice(j.as("viewer.token", "status", "--fleet", kind, "-o", "json")...)
			if !strings.Contains(status, "SYNCED") {
				t.Errorf("status: %s", status)
			}
			for _, name := range []string{"identity.json", "trust.json", "bootstrap.yaml"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if mode := info.Mode().Perm(); mode != 0o600 {
					t.Errorf("%s: got mode %o, want 600", name, mode)
				}
			}
			dump := proxy.AdminGet("/config_dump")
			if !strings.Contains(dump, "split.example.com") {
				t.Error("it has not got its fleet's configuration")
			}

			// The same certificate, for another fleet, and for another id: refused, in words that the proxy logs.
			text, err := os.ReadFile(proxy.Bootstrap)
			if err != nil {
				t.Fatal(err)
			}
			for mine, theirs := range map[string]string{`cluster: "` + kind + `"`: `cluster: "other"`, `id: "one"`: `id: "two"`} {
				admin := harness.Loopback(t)
				_, oldPort, _ := net.SplitHostPort(proxy.Admin)
				_, newPort, _ := net.SplitHostPort(admin)
				claims := strings.NewReplacer(mine, theirs, oldPort, newPort).Replace(string(text))
				path := filepath.Join(dir, "thief.yaml")
				if err := os.WriteFile(path, []byte(claims), 0o600); err != nil {
					t.Fatal(err)
				}
				thief := harness.StartProxyFrom(t, kind, path, admin)
				thief.WaitLog(`(?i)permission ?denied|the client's certificate is for`)
				if strings.Contains(thief.AdminGet("/config_dump"), "split.example.com") {
					t.Errorf("%s: it got a configuration with another proxy's certificate", theirs)
				}
				j.hidden("the log of a proxy", thief.Log())
			}
			j.hidden("the config dump", dump)
			j.hidden("status", status)
			j.hidden("the log of the proxy", proxy.Log())
			j.hidden("the log of the control plane", j.Log())
		})
	}
}

// TestJoinRefused: whoever has no good token gets nothing, and hears why.
func TestJoinRefused(t *testing.T) {
	j := startAuthority(t)
	sluice := filepath.Join(harness.Binaries(t), "sluice")

	once := j.token("--fleet", "edge")
	refuse := func(what, want string, token string, args ...string) {
		t.Helper()
		_, r := j.join(token, args...)
		if r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: got exit code %d and %q, want %q", what, r.Code, r.Stderr, want)
		}
		j.hidden(what, r.Stdout+r.Stderr)
	}
	refuse("another fleet", `fleet: got "core", want edge`, once, "--id", "one", "--fleet", "core")
	refuse("without an id", "id: got none, want one (--id)", once)
	refuse("a slash in the id", `id: got "one/two"`, once, "--id", "one/two")
	if _, r := j.join(once, "--id", "one"); r.Code != 0 { // what was refused has not spent it
		t.Fatal(r.Stderr)
	}
	refuse("a used token", "was used, by [one]", once, "--id", "two")
	refuse("a name that is taken", "edge/one has a certificate until", j.token("--fleet", "edge"), "--id", "one")
	refuse("an expired token", "expired at", j.token("--fleet", "edge", "--ttl", "1ms"), "--id", "two")
	refuse("another id", `id: got "two", want three`, j.token("--fleet", "edge", "--id", "three"), "--id", "two")

	revoked := j.token("--fleet", "edge")
	name := regexp.MustCompile(`(?m)^([0-9a-f]{8}) +edge +any +good +1 .*$`)
	m := name.FindAllStringSubmatch(j.Sluice(j.as("viewer.token", "token", "list")...), -1)
	if len(m) == 0 {
		t.Fatal("token list: the token is not there")
	}
	for _, row := range m {
		j.Sluice(j.as("admin.token", "token", "revoke", row[1])...)
	}
	refuse("a revoked token", "was revoked", revoked, "--id", "two")

	// A token of another control plane: this one is not it, and the token is not sent to it.
	other := startAuthority(t)
	refuse("another control plane", "not of the authority that the join token names", other.token("--fleet", "edge"), "--id", "two")
	if strings.Contains(j.Log(), "is not known here") {
		t.Error("the token was sent to a control plane that is not its own")
	}

	// People: who may only read makes no token, and who shows nothing hears nothing.
	for what, args := range map[string][]string{
		"the viewer token may only read": j.as("viewer.token", "token", "create", "--fleet", "edge"),
		"got no credential":              {"status", "--ca", j.identity("ca.crt")},
		"the token is not known here":    append(j.as("admin.token", "status")[:3], "--token-file", other.identity("admin.token")),
	} {
		r := harness.Run(t, sluice, append(args, "--server", j.Addr)...)
		if r.Code != 1 || !strings.Contains(r.Stderr, what) {
			t.Errorf("%v: got exit code %d and %q, want %q", args, r.Code, r.Stderr, what)
		}
	}
	j.hidden("the log of the control plane", j.Log())

	plain := harness.StartControlPlane(t, j.Dir)
	r := harness.Run(t, sluice, "token", "create", "--fleet", "edge", "--server", plain.Addr)
	if r.Code != 1 || !strings.Contains(r.Stderr, "want a control plane with --trust-domain") {
		t.Errorf("a control plane without an authority: exit code %d, %s", r.Code, r.Stderr)
	}

	// What was used stays used when the control plane has crashed.
	j.Kill()
	j.Launch()
	j.WaitReady()
	refuse("a used token, after a crash", "was used, by [one]", once, "--id", "two")
	text, err := os.ReadFile(j.identity("joins.json"))
	if err != nil {
		t.Fatal(err)
	}
	j.hidden("joins.json", string(text))
}

// proxies is the part of `sluice status` that tells who is connected, and since when.
func (j *joined) proxies() map[string]since {
	j.t.Helper()
	var status struct {
		Proxies []struct {
			ID, Fleet string
			Connected bool
			Since     time.Time
		}
	}
	if err := json.Unmarshal([]byte(j.Sluice(j.as("viewer.token", "status", "-o", "json")...)), &status); err != nil {
		j.t.Fatal(err)
	}
	all := map[string]since{}
	for _, p := range status.Proxies {
		all[p.Fleet+"/"+p.ID] = since{p.Connected, p.Since}
	}
	return all
}

type since struct {
	connected bool
	at        time.Time
}

// TestRenew: with certificates that are good for seconds both kinds of proxy go on, by nothing but a timer beside them;
// who does not renew is cut off when its certificate ends, serves on, and is back when it has joined again.
func TestRenew(t *testing.T) {
	j := startAuthority(t, "--cert-lifetime", "10s")
	sluice := filepath.Join(harness.Binaries(t), "sluice")
	renew := func(dir string) harness.Result { return harness.Run(t, sluice, "bootstrap", "--renew", "--dir", dir) }
	joinedAt := time.Now()
	lazyDir, lazy := j.start(harness.Go, harness.Go, "lazy")

	for _, kind := range harness.Kinds {
		dir, _ := j.start(kind, kind, "one")
		if r := renew(dir); r.Code != 0 || !strings.Contains(r.Stdout, "and renewed from") {
			t.Fatalf("renew, before it is time: exit code %d, %s%s", r.Code, r.Stdout, r.Stderr)
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() { // the timer
			defer close(ended)
			for {
				if r := renew(dir); r.Code != 0 {
					t.Errorf("%s: renew: exit code %d, %s", kind, r.Code, r.Stderr)
				}
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-ended })
	}
	loads := map[string]func() harness.Tally{}
	for _, kind := range harness.Kinds {
		loads[kind] = j.pair.loader(t, kind, 1).Background(1)
	}

	// Each is connected by a second certificate: the first one's connection has ended with it.
	harness.Eventually(t, j.Process, "connected again", func() error {
		all := j.proxies()
		for _, kind := range harness.Kinds {
			if p := all[kind+"/one"]; !p.connected || p.at.Before(joinedAt.Add(10*time.Second)) {
				return fmt.Errorf("%s: %+v", kind, p)
			}
		}
		if all[harness.Go+"/lazy"].connected {
			return errors.New("who did not renew is connected still")
		}
		return nil
	})
	j.pair.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		j.Sluice(j.as("viewer.token", "wait", "--fleet", kind)...)
	}

	lazy.WaitLog(`(?i)tls|certificate`)
	if r := renew(lazyDir); r.Code != 1 || !strings.Contains(r.Stderr, "expired at") {
		t.Errorf("renew, too late: exit code %d, %s", r.Code, r.Stderr)
	}
	if _, err := harness.Get("http://" + lazy.Admin + "/ready"); err != nil {
		t.Errorf("who did not renew serves no more: %v", err)
	}
	r := harness.Run(t, sluice, "bootstrap", "--server", j.Addr, "--admin", lazy.Admin, "--dir", lazyDir,
		"--token", j.token("--fleet", harness.Go, "--id", "lazy"))
	if r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	harness.Eventually(t, lazy.Process, "back", func() error {
		if !j.proxies()[harness.Go+"/lazy"].connected {
			return errors.New("not connected")
		}
		return nil
	})
	for kind, stop := range loads {
		tally := stop()
		if err := fine(tally); err != nil || tally.Requests == 0 {
			t.Errorf("%s: %d requests: %v", kind, tally.Requests, err)
		}
	}
	j.hidden("the log of the control plane", j.Log())
}

const twoFleets = `{kind: Gateway, name: one, fleet: one, listeners: [{name: https, port: 8443, protocol: HTTPS, certificates: [ones]}]}
---
{kind: Gateway, name: two, fleet: two, listeners: [{name: https, port: 8443, protocol: HTTPS, certificates: [twos]}]}
---
{kind: Route, name: both, gateways: [one, two], rules: [{backends: [{service: v1}]}]}
---
{kind: Service, name: v1, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Certificate, name: ones, selfSigned: {hosts: [one.example.com]}}
---
{kind: Certificate, name: twos, selfSigned: {hosts: [two.example.com]}}
`

// TestOtherFleetsSecrets asks for another fleet's secret by its name, with a proxy's own certificate, in both protocols:
// there is none of that name.
func TestOtherFleetsSecrets(t *testing.T) {
	const secrets = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	j := startAuthorityOf(t, twoFleets)
	dir, r := j.join(j.token("--fleet", "one", "--id", "thief"))
	if r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bootstrap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bootstrap.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	config, err := b.ADS.Target.TLS()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+j.Addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	client := discoverypb.NewAggregatedDiscoveryServiceClient(conn)

	delta, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := &discoverypb.DeltaDiscoveryRequest{Node: b.Node, TypeUrl: secrets, ResourceNamesSubscribe: []string{"ones", "twos", "*"}}
	if err := delta.Send(ask); err != nil {
		t.Fatal(err)
	}
	answer, err := delta.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, resource := range answer.GetResources() {
		got[resource.GetName()] = true
	}
	if !got["ones"] || got["twos"] || !slices.Contains(answer.GetRemovedResources(), "twos") {
		t.Errorf("delta: got %v, and as not there %v", got, answer.GetRemovedResources())
	}

	sotw, err := client.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := sotw.Send(&discoverypb.DiscoveryRequest{Node: b.Node, TypeUrl: secrets, ResourceNames: []string{"ones", "twos"}}); err != nil {
		t.Fatal(err)
	}
	all, err := sotw.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.GetResources()) != 1 || bytes.Contains(all.GetResources()[0].GetValue(), []byte("twos")) {
		t.Errorf("state of the world: got %d secrets, want its own one", len(all.GetResources()))
	}

	// And as a proxy of the other fleet it is nobody.
	b.Node.Cluster = "two"
	other, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Send(ask); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("as another fleet: got %v, want PermissionDenied", err)
	}
}
