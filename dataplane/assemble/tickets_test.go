package assemble_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

func ticketKeys(letters string) string {
	var keys []string
	for _, c := range letters {
		keys = append(keys, fmt.Sprintf(`{"inline_string":%q}`, strings.Repeat(string(c), config.TicketKeySize)))
	}
	return `{"name":"tickets","session_ticket_keys":{"keys":[` + strings.Join(keys, ",") + `]}}`
}

// TestTicketKeys: a listener asks for its session ticket keys, waits for them, and has a rotation at once; bad ones are
// refused, and the old serve on.
func TestTicketKeys(t *testing.T) {
	r := warm(t)
	l := strings.Replace(listenerOf("web", 80, httpFilter("t"), "s"), `"common_tls_context"`,
		`"session_ticket_keys_sds_secret_config":{"name":"tickets","sds_config":`+ads+`},"common_tls_context"`, 1)
	r.accept("", lds, l)
	r.wants("SDS", "s tickets")
	r.accept("L:web=80>t R:t>a C:a=1s>a A:a=1 S:s", sds, secret("s")) // the listener waits still
	letters := func() string {
		got := ""
		for _, key := range r.last.TicketKeys["tickets"].Keys {
			got += string(key[:1])
		}
		return got
	}
	if r.send(sds, ticketKeys("ab")); letters() != "ab" || len(r.last.Certificates) != 1 || r.last.Certificates["s"] == nil {
		t.Fatalf("got keys %q and certificates %v", letters(), r.last.Certificates)
	}
	certificate := r.last.Certificates["s"]
	if r.send(sds, ticketKeys("bca")); letters() != "bca" || r.last.Certificates["s"] != certificate {
		t.Errorf("after a rotation: got keys %q", letters())
	}
	refused := r.send(sds, strings.Replace(ticketKeys("cdba"), "cc", "c", 1))
	if err := refused["tickets"]; err == nil || !strings.Contains(err.Error(), "session_ticket_keys.keys[0]: got 79 bytes, want 80") {
		t.Errorf("got %v, want a refusal that names the key", err)
	}
	if letters() != "bca" {
		t.Errorf("after a refusal: got keys %q", letters())
	}
	dump, err := r.ConfigDump(nil)
	if err != nil || !strings.Contains(string(dump), "session_ticket_keys") || strings.Contains(string(dump), "aaaa") || strings.Contains(string(dump), "cccc") {
		t.Errorf("the dump shows a key, or lacks them: %s, %v", dump, err)
	}
}
