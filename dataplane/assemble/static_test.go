package assemble_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// pair is a certificate and its key, PEM.
var pair = sync.OnceValues(func() (chain, key string) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &own.PublicKey, own)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
})

func secret(name string) string {
	chain, key := pair()
	return fmt.Sprintf(`{"name":%q,"tls_certificate":{"certificate_chain":{"inline_string":%q},"private_key":{"inline_string":%q}}}`, name, chain, key)
}

func staticCluster(name string) string {
	return `{"name":"` + name + `","type":"STATIC","connect_timeout":"1s","load_assignment":` + endpoints(name, 1) + `}`
}

func TestStaticAlone(t *testing.T) {
	var applied string
	a, err := assemble.New(assemble.Options{
		Clusters:  []*anypb.Any{unpack(t, cds, staticCluster("a"))},
		Listeners: []*anypb.Any{unpack(t, lds, listenerOf("raw", 80, tcpFilter("a"), ""))},
		Bind:      func(*config.Listener) error { return nil },
		Apply:     func(c *config.Config) error { applied = sum(c); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if want := "L:raw=80> C:a=1s>"; applied != want {
		t.Errorf("got %s, want %s", applied, want)
	}
	select {
	case <-a.Ready():
	default:
		t.Error("not ready")
	}
}

func TestStaticRefused(t *testing.T) {
	one := func(typeURL, text string) []*anypb.Any { return []*anypb.Any{unpack(t, typeURL, text)} }
	for want, o := range map[string]assemble.Options{
		`listener "web": route table "t": got no control plane`:            {Listeners: one(lds, listener("web", 80, "t"))},
		`listener "web": secret "s": got neither a static one`:             {Listeners: one(lds, listenerOf("web", 80, tcpFilter("a"), "s"))},
		`cluster "a": got EDS, but no control plane`:                       {Clusters: one(cds, cluster("a", "1s", ""))},
		`cluster "a": stands twice`:                                        {Clusters: append(one(cds, staticCluster("a")), one(cds, staticCluster("a"))...)},
		`got no control plane, want one for dynamic listeners`:             {DynamicListeners: true},
		`listener "y": address: got 127.0.0.1:80, which is listener "x"'s`: {Listeners: append(one(lds, listenerOf("x", 80, tcpFilter("a"), "")), one(lds, listenerOf("y", 80, tcpFilter("a"), ""))...)},
		`cluster "a": lb_policy: got MAGLEV`:                               {Clusters: one(cds, strings.Replace(staticCluster("a"), `{`, `{"lb_policy":"MAGLEV",`, 1))},
	} {
		if _, err := assemble.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestStaticListenerThatCannotBeBound(t *testing.T) {
	a, err := assemble.New(assemble.Options{
		Listeners: []*anypb.Any{unpack(t, lds, listenerOf("raw", 80, tcpFilter("a"), ""))},
		Bind:      func(*config.Listener) error { return errors.New("in use") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want the address in use", err)
	}
}

func TestStaticBesideDynamic(t *testing.T) {
	r := newRig(t, func(o *assemble.Options) {
		o.Clusters = []*anypb.Any{unpack(t, cds, staticCluster("fixed"))}
		o.Secrets = []*anypb.Any{unpack(t, sds, secret("known"))}
	})
	if got, want := sum(r.last), "C:fixed=1s> S:known"; got != want {
		t.Errorf("at the start: got %s, want %s", got, want)
	}
	r.accept("", cds)
	r.accept("L:web=80>t+known R:t>fixed C:fixed=1s> S:known"[:0], lds, listenerOf("web", 80, httpFilter("t"), "known"))
	r.wants("SDS", "")
	r.accept("L:web=80>t+known R:t>fixed C:fixed=1s> S:known", rds, table("t", "fixed"))
	refused := r.send(cds, cluster("fixed", "9s", ""))
	if refused["fixed"] == nil || !strings.Contains(refused["fixed"].Error(), "whose name a static one has") {
		t.Errorf("got %v", refused)
	}
	r.accept("", cds, "-fixed")
}

func TestConfigDump(t *testing.T) {
	r := warm(t)
	r.send(lds, listenerOf("web", 80, httpFilter("t"), "s"))
	r.send(sds, secret("s"))
	r.send(cds, cluster("b", "1s", ""), strings.Replace(cluster("m", "1s", ""), `"name"`, `"lb_policy":"MAGLEV","name"`, 1))
	r.send(lds, listener("web", 80, "later"))
	r.bindErrors["x"] = errors.New("in use")
	r.send(lds, listener("x", 81, "t"))
	text, err := r.ConfigDump(json.RawMessage(`{"node":{"id":"p1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "PRIVATE KEY") || !strings.Contains(string(text), "BEGIN CERTIFICATE") {
		t.Error("the dump has the key, or lacks the certificate")
	}
	var dump struct {
		Configs []struct {
			Type      string `json:"@type"`
			Bootstrap struct{ Node struct{ ID string } }
			Active    []struct {
				Cluster struct{ Name string }
				Status  string                   `json:"client_status"`
				Error   struct{ Details string } `json:"error_state"`
			} `json:"dynamic_active_clusters"`
			Warming []struct {
				Version string `json:"version_info"`
				Cluster struct{ Name string }
			} `json:"dynamic_warming_clusters"`
			Listeners []struct {
				Name    string
				Status  string                   `json:"client_status"`
				Active  *json.RawMessage         `json:"active_state"`
				Warming *json.RawMessage         `json:"warming_state"`
				Error   struct{ Details string } `json:"error_state"`
			} `json:"dynamic_listeners"`
			Secrets []struct{ Name string } `json:"dynamic_active_secrets"`
			Tables  []struct {
				Table struct{ Name string } `json:"route_config"`
			} `json:"dynamic_route_configs"`
			Endpoints []struct {
				Endpoints struct {
					Name string `json:"cluster_name"`
				} `json:"endpoint_config"`
			} `json:"dynamic_endpoint_configs"`
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	if len(dump.Configs) != 6 || dump.Configs[0].Bootstrap.Node.ID != "p1" {
		t.Fatalf("got %d parts", len(dump.Configs))
	}
	clusters := dump.Configs[1]
	if len(clusters.Active) != 2 || clusters.Active[0].Cluster.Name != "a" || clusters.Active[0].Status != "ACKED" ||
		clusters.Active[1].Status != "NACKED" || !strings.Contains(clusters.Active[1].Error.Details, "MAGLEV") {
		t.Errorf("active clusters: got %+v", clusters.Active)
	}
	if len(clusters.Warming) != 1 || clusters.Warming[0].Cluster.Name != "b" || clusters.Warming[0].Version == "" {
		t.Errorf("warming clusters: got %+v", clusters.Warming)
	}
	l := dump.Configs[2].Listeners
	if len(l) != 2 || l[0].Name != "web" || l[0].Status != "REQUESTED" || l[0].Active == nil || l[0].Warming == nil ||
		l[1].Status != "NACKED" || l[1].Active != nil || !strings.Contains(l[1].Error.Details, "in use") {
		t.Errorf("listeners: got %+v", l)
	}
	if len(dump.Configs[3].Tables) != 1 || len(dump.Configs[4].Secrets) != 1 || len(dump.Configs[5].Endpoints) != 1 {
		t.Errorf("got %+v", dump.Configs[3:])
	}
}
