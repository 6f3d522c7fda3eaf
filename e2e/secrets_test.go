package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const secretDefinitions = `{kind: Gateway, name: go, fleet: sluice-proxy, listeners: [{name: https, address: 127.0.0.1, port: {{port "go"}}, protocol: HTTPS, certificates: [shown]}]}
---
{kind: Gateway, name: envoy, fleet: envoy, listeners: [{name: https, address: 127.0.0.1, port: {{port "envoy"}}, protocol: HTTPS, certificates: [shown]}]}
---
{kind: Route, name: all, gateways: [go, envoy], rules: [{backends: [{service: v1}]}]}
---
{kind: Service, name: v1, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Certificate, name: shown, selfSigned: {hosts: [shown.example.com]}}
`

// encoded is what may be a key, in files of ours: base64 of at least 32 bytes.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/]{43,}={0,2}`)

// secretsIn takes all that may be a key in a text for a secret: as it is written there, and as it reads decoded; of PEM each
// line of the key.
func (j *joined) secretsIn(text string) {
	for _, e := range encoded.FindAllString(text, -1) {
		j.secrets = append(j.secrets, e)
		decoded, err := base64.StdEncoding.DecodeString(e)
		if err != nil {
			continue
		}
		if block := string(decoded); strings.Contains(block, "PRIVATE KEY") {
			for line := range strings.Lines(block) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
					j.secrets = append(j.secrets, line)
				}
			}
		} else {
			j.secrets = append(j.secrets, block)
		}
	}
}

// TestNothingSecretIsTold asks everything that can be asked about certificates, keys and tokens, while people paste keys where
// they do not belong, and the control plane logs all it can: no answer, difference, dump, metric or log has a secret in it.
func TestNothingSecretIsTold(t *testing.T) {
	j := startAuthorityOf(t, secretDefinitions, "-l", "debug")
	harness.Eventually(t, j.Process, "the state is kept", func() error {
		_, err := os.Stat(filepath.Join(j.State, "certificates.jsonl"))
		return err
	})
	// Keys of the control plane: its certificates', the authority's, the session tickets'.
	var key string
	for _, name := range []string{"certificates.jsonl", "tickets.jsonl", "identity/ca.key"} {
		text, err := os.ReadFile(filepath.Join(j.State, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range regexp.MustCompile(`"chain":"[^"]*"`).FindAllString(string(text), -1) {
			text = []byte(strings.ReplaceAll(string(text), field, "")) // the certificate is no secret
		}
		j.secretsIn(string(text))
		if m := regexp.MustCompile(`"key":"([^"]+)"`).FindStringSubmatch(string(text)); m != nil {
			pem, err := base64.StdEncoding.DecodeString(m[1])
			if err != nil {
				t.Fatal(err)
			}
			key = string(pem)
		}
	}
	if len(j.secrets) < 8 || !strings.Contains(key, "PRIVATE KEY") {
		t.Fatalf("got %d secrets", len(j.secrets))
	}

	proxies := map[string]*harness.Proxy{}
	for _, kind := range harness.Kinds {
		var dir string
		dir, proxies[kind] = j.start(kind, kind, "one")
		text, err := os.ReadFile(filepath.Join(dir, "identity.json"))
		if err != nil {
			t.Fatal(err)
		}
		j.secretsIn(regexp.MustCompile(`PRIVATE KEY-----\\n[^"]*`).FindString(string(text)))
		j.Sluice(j.as("viewer.token", "wait", "--fleet", kind)...)
	}

	// What people paste.
	comment := "# " + strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n# ") + "\n"
	pasted := map[string]string{
		"field.yaml":   fmt.Sprintf("kind: Certificate\nname: field\n%q: 1\nselfSigned: {}\n", key),
		"path.yaml":    fmt.Sprintf("kind: Certificate\nname: path\nfiles: {certificate: %q, privateKey: %q}\n", key, key),
		"text.yaml":    fmt.Sprintf("kind: Service\nname: text\ndescription: %q\nendpoints: [\"127.0.0.1:1\"]\n", key),
		"comment.yaml": comment + "kind: Service\nname: comment\nendpoints: [\"127.0.0.1:1\"]\n",
		"alone.yaml":   key,
		"block.yaml":   "kind: Certificate\nname: block\nfiles:\n  certificate: a.crt\n  privateKey: |\n" + key,
	}
	planned := t.TempDir()
	for name, text := range pasted {
		j.pair.stage.Put(t, name, text)
		if err := os.WriteFile(filepath.Join(planned, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// And another key for what is served: a difference that is secret.
	other := strings.Replace(secretDefinitions[strings.LastIndex(secretDefinitions, "{kind: Certificate"):], "shown.example.com", "other.example.com", 1)
	if err := os.WriteFile(filepath.Join(planned, "shown.yaml"), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	j.WaitLog("document=Service/comment")

	sluice := filepath.Join(harness.Binaries(t), "sluice")
	asked := 0
	check := func(what, text string) {
		t.Helper()
		asked++
		j.hidden(what, text)
	}
	for _, line := range []string{
		"status", "status -o wide", "status -o json", "status one --fleet envoy -o json", "get", "get -o json", "history", "history 1", "history -o yaml", "token list -o json",
		"describe Certificate/shown", "describe Certificate/shown -o json", "describe Gateway/go", "describe Certificate/field", "describe Service/text",
		"revoke --list", "ca show -o json", "explain https://shown.example.com/", "plan --full -f " + planned, "plan --full -o json -f " + planned,
	} {
		r := harness.Run(t, sluice, append(j.as("viewer.token", strings.Fields(line)...), "--server", j.Addr)...)
		if r.Code != 0 && !strings.HasPrefix(line, "plan") {
			t.Errorf("%s: exit code %d, %s", line, r.Code, r.Stderr)
		}
		check(line, r.Stdout+r.Stderr)
	}
	for _, command := range []string{"validate", "xds", "expand"} {
		r := harness.Run(t, sluice, command, "-f", j.Dir)
		check(command, r.Stdout+r.Stderr)
	}

	ca, err := os.ReadFile(j.identity("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(ca)
	conn, err := grpc.NewClient("passthrough:///"+j.Addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	token, err := os.ReadFile(j.identity("viewer.token"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+strings.TrimSpace(string(token))), harness.Patience)
	defer cancel()
	answer, err := statuspb.NewClientStatusDiscoveryServiceClient(conn).FetchClientStatus(ctx, &statuspb.ClientStatusRequest{
		NodeMatchers: []*matcherpb.NodeMatcher{{NodeId: &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: "one"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := proto.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	text := protojson.Format(answer)
	if !strings.Contains(text, "[redacted]") {
		t.Error("CSDS: it has no secret that is hidden")
	}
	check("CSDS", string(wire))
	check("CSDS, as JSON", text)

	metrics, err := harness.Get("http://" + j.Ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	check("metrics", metrics)
	for kind, proxy := range proxies {
		for _, path := range []string{"/config_dump", "/stats/prometheus", "/clusters", "/listeners", "/server_info"} {
			check(kind+path, proxy.AdminGet(path))
		}
		check(kind+": log", proxy.Log())
	}
	check("the log of the control plane", j.Log())
	for _, name := range []string{"documents.jsonl", "revisions.jsonl", "quarantine.jsonl", "sockets.jsonl", "identity/joins.json", "identity/ca.crt"} {
		kept, err := os.ReadFile(filepath.Join(j.State, name))
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(kept))
	}
	if asked < 40 {
		t.Errorf("got %d answers", asked)
	}
}
