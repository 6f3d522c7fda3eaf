package resource

import "strings"

// HostName is the name of a virtual host's resource: the route configuration's, a slash, and the host's. Envoy takes the last
// slash for the border, and finds a host that is to go by the name that stands in it, so that is this one, too (measured).
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/vhds
func HostName(table, host string) string { return table + "/" + host }

// TableOf is the route configuration that a virtual host's resource belongs to; "" if its name does not say.
func TableOf(name string) string { return name[:max(strings.LastIndexByte(name, '/'), 0)] }
