package decode

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestLogFormats: a text becomes the line that Envoy would write.
func TestLogFormats(t *testing.T) {
	record := &accesslog.Record{
		Start:    time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
		Duration: 1500 * time.Millisecond,
		Request: &message.Request{
			Proto: message.HTTP11, Method: "GET", Authority: "shop.example.com", Path: "/a?b=c",
			Header: message.Header{{Name: "User-Agent", Value: "curl\r\n\"x\""}},
		},
		Response: &message.Response{Status: 200, Header: message.Header{{Name: "X-Served-By", Value: "v1"}}},
		Status:   200,
		Remote:   netip.MustParseAddrPort("192.0.2.1:1234"), Peer: netip.MustParseAddrPort("192.0.2.2:1"), Local: netip.MustParseAddrPort("127.0.0.1:8443"),
	}
	for text, want := range map[string]string{
		"plain":                               "plain",
		"100%%":                               "100%",
		"%START_TIME%":                        "2026-01-02T03:04:05.678Z",
		"%START_TIME(%Y-%m-%d %H:%M:%S.%3f)%": "2026-01-02 03:04:05.678",
		"%REQ(:METHOD)% %REQ(X-ORIGINAL-PATH?:PATH)% %PROTOCOL%": "GET /a?b=c HTTP/1.1",
		"%REQ(USER-AGENT)%":                   `curl\x0d\x0a"x"`,
		"%REQ(USER-AGENT):4%":                 "curl",
		"%REQ(X-NONE)%":                       "-",
		"%RESP(X-SERVED-BY)% %RESPONSE_CODE%": "v1 200",
		"%RESPONSE_FLAGS%":                    "-",
		"%DURATION%ms":                        "1500ms",
		"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "192.0.2.1:1234 192.0.2.1",
		"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_PORT%":           "192.0.2.2:1 8443",
	} {
		d := &decoder{refused: map[string]bool{}, holders: map[string]bool{}}
		path := filepath.Join(t.TempDir(), "log")
		log, err := accesslog.New(&config.AccessLog{Path: path, Format: d.format("format", text)})
		if err != nil || len(d.refusals) > 0 {
			t.Fatal(text, err, d.refusals)
		}
		log.Log(record)
		log.Close()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: got %q (%v), want %q", text, got, err, want)
		}
	}
}

// TestBadFormats: what cannot be written is refused, and the key named.
func TestBadFormats(t *testing.T) {
	for text, want := range map[string]string{
		"%NOPE%":                  "got the operator %NOPE%, want %% for a %, or one of BYTES_RECEIVED, ",
		"%REQ%":                   "got %REQ()%, want a header's name",
		"%DURATION":               "without its closing %",
		"%DURATION:x%":            `got the length "x"`,
		"%START_TIME(%Q)%":        "%Q is not supported",
		"%PROTOCOL(x)%":           "got %PROTOCOL(x)%, want %PROTOCOL%",
		"%DYNAMIC_METADATA(a:b)%": "got the operator %DYNAMIC_METADATA%, want",
	} {
		refusals := func(read func(d *decoder)) string {
			d := &decoder{refused: map[string]bool{}, holders: map[string]bool{}}
			read(d)
			return (&Error{Kind: "listener", Refusals: d.refusals}).Error()
		}
		if got := refusals(func(d *decoder) { d.format("here", text) }); !strings.Contains(got, "here: ") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
		json := &structpb.Struct{Fields: map[string]*structpb.Value{"k": structpb.NewStringValue(text)}}
		if got := refusals(func(d *decoder) { d.jsonFormat("json_format", json) }); !strings.Contains(got, `json_format["k"]: `) || !strings.Contains(got, want) {
			t.Errorf("%s in JSON: got %q, want the key named", text, got)
		}
	}
}
