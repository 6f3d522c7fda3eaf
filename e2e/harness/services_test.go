package harness

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/dns"
)

// TestServices asks the name server for services with the client that the control plane has, and then the upstreams.
func TestServices(t *testing.T) {
	s := NewStage(t, []txtar.File{
		{Name: "a", Data: []byte(`{{service "_http._tcp.app.test" "v1/10/60" "v2/10/40" "-v3/20/1"}} {{service "_http._tcp.app.test" "v9/1/1"}}`)},
		{Name: "b", Data: []byte(`{{servicetcp "_db._tcp.app.test" "t1/0/0"}} {{service "_http._tcp.gone.test" "nxdomain" "-v1/0/1"}}`)},
	})
	if got := s.Text(t, "a") + " " + s.Text(t, "b"); got != "srv:_http._tcp.app.test srv:_http._tcp.app.test srv:_db._tcp.app.test srv:_http._tcp.gone.test" {
		t.Fatalf("got %s", got)
	}
	if one, two := s.Server.placed["v1"], s.Server.placed["v2"]; one == two {
		t.Errorf("v1 and v2 are both at %v", one)
	}
	none := filepath.Join(t.TempDir(), "none")
	client, at := &dns.Client{ResolvConf: none, Hosts: none}, []string{s.Server.Addr}
	// look is what a name's records are, and who answers at each.
	look := func(name string) string {
		records, _, err := client.Services(context.Background(), name, at)
		if err != nil {
			return "error"
		}
		var out []string
		for _, r := range records {
			addresses := client.Addresses(context.Background(), r.Target, [dns.Families]bool{dns.V4: true}, at)[dns.V4].Addresses
			if len(addresses) != 1 {
				out = append(out, fmt.Sprintf("%s:%d has %v", r.Target, r.Port, addresses))
				continue
			}
			request := &Request{Method: "GET", Proto: "HTTP/1.1", Authority: "a", Path: "/", Addr: netip.AddrPortFrom(addresses[0], r.Port).String()}
			if strings.HasPrefix(r.Target, "t1.") {
				request = &Request{Proto: "TCP", Addr: request.Addr, Body: []byte("x")}
			}
			out = append(out, fmt.Sprintf("%s/%d/%d %s", r.Target, r.Priority, r.Weight, Do(request, false).Body))
		}
		return strings.Join(out, ", ")
	}
	for _, test := range []struct{ set, name, want string }{
		{"", "_http._tcp.app.test", "v1.app.test/10/60 v1, v2.app.test/10/40 v2"},
		{"", "_db._tcp.app.test", "t1.app.test/0/0 t1: x"},
		{"", "_http._tcp.gone.test", ""},
		{"_http._tcp.gone.test v1/0/1 v3/0/2", "_http._tcp.gone.test", "v1.gone.test/0/1 v1, v3.gone.test/0/2 v3"},
		{"_http._tcp.app.test v3/20/1 v1/0/5", "_http._tcp.app.test", "v3.app.test/20/1 v3, v1.app.test/0/5 v1"},
		{"v1.app.test nxdomain", "_http._tcp.app.test", fmt.Sprintf("v3.app.test/20/1 v3, v1.app.test:%d has []", s.Ports["v1-app-test"])},
		{"_http._tcp.app.test v1/1/1 v2/1/1", "_http._tcp.app.test", fmt.Sprintf("v1.app.test:%d has [], v2.app.test/1/1 v2", s.Ports["v1-app-test"])},
		{"_http._tcp.app.test v3/20/1 v1/0/5", "_http._tcp.app.test", fmt.Sprintf("v3.app.test/20/1 v3, v1.app.test:%d has []", s.Ports["v1-app-test"])},
		{"v1.app.test v1", "_http._tcp.app.test", "v3.app.test/20/1 v3, v1.app.test/0/5 v1"},
		{"_http._tcp.app.test =_db._tcp.app.test", "_http._tcp.app.test", "t1.app.test/0/0 t1: x"},
		{"_http._tcp.app.test other.test:80/1/2", "_http._tcp.app.test", "other.test:80 has []"},
		{"_http._tcp.app.test .:0/0/0", "_http._tcp.app.test", ""},
		{"_http._tcp.app.test servfail", "_http._tcp.app.test", "error"},
		{"_http._tcp.app.test nodata", "_http._tcp.app.test", ""},
	} {
		if test.set != "" {
			s.Server.Set(t, strings.Fields(test.set)...)
		}
		if got := look(test.name); got != test.want {
			t.Errorf("after %q: got %q, want %q", test.set, got, test.want)
		}
	}
}
