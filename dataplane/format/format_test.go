package format

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Each operator of the list, of a record that has everything and of one that has nothing.
func TestOperators(t *testing.T) {
	full := &Record{
		Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Duration: time.Second,
		Request:  &message.Request{Proto: message.HTTP2, Method: "GET", Header: message.Header{{Name: "X", Value: "1"}}},
		Response: &message.Response{Status: 200, Header: message.Header{{Name: "X", Value: "2"}}},
		Status:   200, Flags: "UF", Details: "why", BytesReceived: 1, BytesSent: 2, Route: "r", Cluster: "c", Upstream: "u",
		Remote: netip.MustParseAddrPort("192.0.2.1:1"), Peer: netip.MustParseAddrPort("[2001:db8::2]:2"), Local: netip.MustParseAddrPort("192.0.2.3:3"),
		Chain: "ch", Attempts: 2, SNI: "sni", TLSVersion: "TLSv1.3",
	}
	for name, want := range map[string][2]string{
		"BYTES_RECEIVED": {"1", "0"}, "BYTES_SENT": {"2", "0"}, "DURATION": {"1000", "0"},
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              {"[2001:db8::2]:2", "-"},
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": {"2001:db8::2", "-"},
		"DOWNSTREAM_LOCAL_ADDRESS":                      {"192.0.2.3:3", "-"},
		"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":         {"192.0.2.3", "-"},
		"DOWNSTREAM_LOCAL_PORT":                         {"3", "-"},
		"DOWNSTREAM_REMOTE_ADDRESS":                     {"192.0.2.1:1", "-"},
		"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        {"192.0.2.1", "-"},
		"DOWNSTREAM_REMOTE_PORT":                        {"1", "-"},
		"DOWNSTREAM_TLS_VERSION":                        {"TLSv1.3", "-"},
		"FILTER_CHAIN_NAME":                             {"ch", "-"}, "PROTOCOL": {"HTTP/2", "-"}, "REQ": {"1", "-"}, "RESP": {"2", "-"},
		"REQUESTED_SERVER_NAME": {"sni", "-"}, "RESPONSE_CODE": {"200", "0"}, "RESPONSE_CODE_DETAILS": {"why", "-"},
		"RESPONSE_FLAGS": {"UF", "-"}, "ROUTE_NAME": {"r", "-"}, "START_TIME": {"2026", "0001"}, "UPSTREAM_CLUSTER": {"c", "-"},
		"UPSTREAM_HOST": {"u", "-"}, "UPSTREAM_REQUEST_ATTEMPT_COUNT": {"2", "0"},
	} {
		part := config.Part{Name: name}
		switch name {
		case "START_TIME":
			part.Arg = "2006"
		case "REQ", "RESP":
			part.Arg, part.Alt = "none", "x"
		}
		for i, r := range []*Record{full, {}} {
			if got := string(Append(nil, []config.Part{part}, r, "-")); got != want[i] {
				t.Errorf("%s: got %q, want %q", name, got, want[i])
			}
		}
	}
	for _, name := range Operators {
		if _, known := of(&config.Part{Name: name}, full); !known {
			t.Errorf("%s is listed, and not known", name)
		}
	}
	if got := string(Append(nil, []config.Part{{Literal: "<"}, {Name: "UPSTREAM_HOST"}, {Literal: ">"}}, &Record{}, "")); got != "<>" {
		t.Errorf("got %q, want <>", got)
	}
}
