package live

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// world is what listeners share: one version of clusters, route tables and certificates. Read-only once made.
type world struct {
	clusters     map[string]*upstream.Client
	endpoints    map[string][]config.Endpoint
	tables       map[string]*route.Table
	certificates map[string]certificate
	tickets      map[string]tickets
	validations  map[string]*config.Validation
	// trusts are those made, for use again; former are the last world's.
	trusts, former map[trustKey]*certs.Trust
}

// trustKey is what a Trust is made of; what was not decoded again is the same pointer.
type trustKey struct{ own, secret *config.Validation }

type certificate struct {
	config *config.Certificate
	made   *tls.Certificate
}

type tickets struct {
	config *config.TicketKeys
	made   *certs.Tickets
}

// noTable answers 404 to all.
var noTable = route.New(&config.RouteTable{})

func newWorld() world {
	return world{
		clusters:     map[string]*upstream.Client{},
		endpoints:    map[string][]config.Endpoint{},
		tables:       map[string]*route.Table{},
		certificates: map[string]certificate{},
		tickets:      map[string]tickets{},
		validations:  map[string]*config.Validation{},
		trusts:       map[trustKey]*certs.Trust{},
	}
}

// same compares parts of configurations; those that were not decoded again are the same pointer.
func same[T any](a, b *T) bool { return a == b || reflect.DeepEqual(a, b) }

// next makes a configuration's world. What did not change is that of w; dropped are the clients that are no longer in it.
func (w *world) next(c *config.Config) (next world, dropped []*upstream.Client, err error) {
	next = newWorld()
	next.former = w.trusts
	for name, cfg := range c.Clusters {
		endpoints := cfg.Static
		if cfg.DNS != nil {
			endpoints = nil
			if assignment := c.Resolved[name]; assignment != nil {
				endpoints = assignment.Endpoints
			}
		}
		if cfg.AssignmentName != "" {
			endpoints = nil
			if assignment := c.Assignments[cfg.AssignmentName]; assignment != nil {
				endpoints = assignment.Endpoints
			}
		}
		client, known := w.clusters[name]
		if !known || !same(client.Cluster.Config, cfg) || !reflect.DeepEqual(w.endpoints[name], endpoints) {
			var old *cluster.Cluster
			if known {
				old = client.Cluster
				dropped = append(dropped, client)
			}
			client = upstream.NewClient(cluster.New(cfg, endpoints, old), client)
		}
		next.clusters[name], next.endpoints[name] = client, endpoints
	}
	for name, client := range w.clusters {
		if next.clusters[name] == nil {
			dropped = append(dropped, client)
		}
	}
	for name, cfg := range c.RouteTables {
		table := w.tables[name]
		if table == nil || !same(table.Config(), cfg) {
			table = route.Next(table, cfg)
		}
		next.tables[name] = table
	}
	for name, cfg := range c.TicketKeys {
		t, known := w.tickets[name]
		if !known || !same(t.config, cfg) {
			t = tickets{config: cfg, made: certs.SharedTickets(cfg)}
		}
		next.tickets[name] = t
	}
	if c.Validations != nil {
		next.validations = c.Validations
	}
	var problems []error
	for name, cfg := range c.Certificates {
		old, known := w.certificates[name]
		if known && same(old.config, cfg) {
			next.certificates[name] = old
			continue
		}
		made, err := certs.Parse(cfg)
		if err != nil {
			problems = append(problems, fmt.Errorf("live: %w", err))
			if known {
				// The last good one serves on.
				next.certificates[name] = old
			}
			continue
		}
		next.certificates[name] = certificate{config: cfg, made: made}
	}
	for _, client := range next.clusters {
		if err := next.secure(client); err != nil {
			problems = append(problems, err)
		}
	}
	return next, dropped, errors.Join(problems...)
}

// state is what an HTTP chain serves requests from. inline is the table that stands in the chain itself, or nil.
func (w *world) state(cfg *config.HTTP, inline *route.Table) *httpproxy.State {
	table := inline
	if table == nil {
		if table = w.tables[cfg.RouteTableName]; table == nil {
			table = noTable
		}
	}
	return httpproxy.NewState(table, w.clusters)
}

// presented are the certificates of a chain, in its order. Names that are not there yet are left out: without any, the
// chain refuses handshakes.
func (w *world) presented(cfg *config.DownstreamTLS) ([]*tls.Certificate, error) {
	var list []*tls.Certificate
	for _, name := range cfg.CertificateNames {
		if c, ok := w.certificates[name]; ok {
			list = append(list, c.made)
		}
	}
	for _, c := range cfg.Certificates {
		made, err := certs.Parse(c)
		if err != nil {
			return nil, err
		}
		list = append(list, made)
	}
	return list, nil
}

// ticketsOf is where a chain's session ticket keys come from. Without those that it names, or without any, the sessions
// are this process's own: resumption only saves time.
func (w *world) ticketsOf(cfg *config.DownstreamTLS, own *certs.Tickets) *certs.Tickets {
	if cfg.TicketKeys != nil {
		return certs.SharedTickets(cfg.TicketKeys)
	}
	if t, ok := w.tickets[cfg.TicketKeysName]; ok {
		return t.made
	}
	return own
}

// trusted is who may speak to a chain, or whom a cluster speaks to; nil if what it names is not there: then it is nobody.
func (w *world) trusted(t *config.Trust) (*certs.Trust, error) {
	secret := w.validations[t.Name]
	if t.Name != "" && secret == nil {
		return nil, nil
	}
	key := trustKey{t.Own, secret}
	if made := cmp.Or(w.trusts[key], w.former[key]); made != nil {
		w.trusts[key] = made
		return made, nil
	}
	made, err := certs.NewTrust(t.Own, secret)
	if err == nil {
		w.trusts[key] = made
	}
	return made, err
}

// secure gives a cluster's connections what they show and whom they trust.
func (w *world) secure(client *upstream.Client) error {
	cfg := client.Cluster.Config.TLS
	if cfg == nil {
		return nil
	}
	certificate, trust, err := w.identity(cfg)
	client.SetTLS(err == nil && (cfg.Trust == nil || trust != nil) && (cfg.CertificateName == "" || certificate != nil), certificate, trust)
	if err != nil {
		return fmt.Errorf("live: cluster %q: %w", client.Cluster.Config.Name, err)
	}
	return nil
}

func (w *world) identity(cfg *config.UpstreamTLS) (certificate *tls.Certificate, trust *certs.Trust, err error) {
	if c := cfg.Certificate; c != nil {
		if certificate, err = certs.Parse(c); err != nil {
			return nil, nil, err
		}
	}
	if cfg.CertificateName != "" {
		certificate = w.certificates[cfg.CertificateName].made
	}
	if cfg.Trust != nil {
		trust, err = w.trusted(cfg.Trust)
	}
	return certificate, trust, err
}
