package assemble

import "github.com/sluice-proxy/sluice/dataplane/config"

// references are the names that a listener refers to.
type references struct{ tables, secrets, clusters []string }

func referencesOf(l *config.Listener) references {
	var refs references
	for _, c := range l.Chains {
		refs.add(c)
	}
	if l.Default != nil {
		refs.add(l.Default)
	}
	return refs
}

func (r *references) add(c *config.FilterChain) {
	if c.TLS != nil {
		r.secrets = append(r.secrets, c.TLS.CertificateNames...)
		if c.TLS.Clients != nil && c.TLS.Clients.Name != "" {
			r.secrets = append(r.secrets, c.TLS.Clients.Name)
		}
		if c.TLS.TicketKeysName != "" {
			r.secrets = append(r.secrets, c.TLS.TicketKeysName)
		}
	}
	if c.HTTP != nil {
		if c.HTTP.RouteTableName != "" {
			r.tables = append(r.tables, c.HTTP.RouteTableName)
		}
		if c.HTTP.RouteTable != nil {
			r.clusters = append(r.clusters, clustersOf(c.HTTP.RouteTable)...)
		}
	}
	if c.TCP != nil {
		for _, w := range c.TCP.Clusters {
			r.clusters = append(r.clusters, w.Name)
		}
	}
}

// secretsOf are those that a cluster's connections need.
func secretsOf(c *config.Cluster) []string {
	if c.TLS == nil {
		return nil
	}
	var names []string
	if c.TLS.CertificateName != "" {
		names = append(names, c.TLS.CertificateName)
	}
	if c.TLS.Trust != nil && c.TLS.Trust.Name != "" {
		names = append(names, c.TLS.Trust.Name)
	}
	return names
}

// clustersOf are the clusters that a table's routes go to, and their copies.
func clustersOf(t *config.RouteTable) []string {
	var names []string
	for _, h := range t.Hosts {
		names = clustersOfHost(names, h)
	}
	return names
}

// clustersOfHost appends those of one host.
func clustersOfHost(names []string, h *config.VirtualHost) []string {
	for _, r := range h.Routes {
		for _, w := range r.Clusters {
			names = append(names, w.Name)
		}
		for _, m := range r.Mirrors {
			names = append(names, m.Cluster)
		}
	}
	return names
}
