package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func record() *Record {
	return &Record{
		Start:    time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
		Duration: 1500 * time.Millisecond,
		Request: &message.Request{
			Proto: message.HTTP11, Method: "GET", Scheme: "https", Authority: "shop.example.com", Path: "/a?b=c",
			Header: message.Header{{Name: "User-Agent", Value: "curl\r\n\"x\""}},
		},
		Response:      &message.Response{Status: 200, Header: message.Header{{Name: "X-Served-By", Value: "v1"}}},
		Status:        200,
		BytesReceived: 1, BytesSent: 42,
		Route: "Route/shop#api", Cluster: "api", Upstream: "10.0.0.1:80",
		Remote: netip.MustParseAddrPort("192.0.2.1:1234"), Peer: netip.MustParseAddrPort("192.0.2.2:1"), Local: netip.MustParseAddrPort("127.0.0.1:8443"),
		SNI: "shop.example.com", TLSVersion: "TLSv1.3", Chain: "web/https",
	}
}

func TestText(t *testing.T) {
	for format, want := range map[string]string{
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
		f, err := parse(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := string(appendText(nil, f, record())); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestBadFormats(t *testing.T) {
	for format, want := range map[string]string{
		"%NOPE%":                  "got the operator %NOPE%, want %% for a %, or one of BYTES_RECEIVED, ",
		"%REQ%":                   "got %REQ()%, want a header's name",
		"%DURATION":               "without its closing %",
		"%DURATION:x%":            `got the length "x"`,
		"%START_TIME(%Q)%":        "%Q is not supported",
		"%PROTOCOL(x)%":           "got %PROTOCOL(x)%, want %PROTOCOL%",
		"%DYNAMIC_METADATA(a:b)%": "got the operator %DYNAMIC_METADATA%, want",
	} {
		err := CheckFormat(&config.AccessLog{Format: format})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", format, err, want)
		}
		err = CheckFormat(&config.AccessLog{JSON: map[string]string{"k": format}})
		if err == nil || !strings.Contains(err.Error(), `json_format["k"]`) {
			t.Errorf("%s in JSON: got %v, want the key named", format, err)
		}
	}
}

func TestJSONLinesInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := New(&config.AccessLog{Path: path, JSON: map[string]string{
		"agent": "%REQ(USER-AGENT)%", "status": "%RESPONSE_CODE%", "none": "%REQ(X)%", "mixed": "%REQ(:METHOD)% %REQ(X)%", "route": "%ROUTE_NAME%",
	}})
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines = 8, 500
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range lines {
				l.Log(record())
			}
		})
	}
	wg.Wait()
	l.Close()
	l.Close()
	l.Log(record())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(got) != writers*lines {
		t.Fatalf("got %d lines, want %d", len(got), writers*lines)
	}
	want := `{"agent":"curl\u000d\u000a\"x\"","mixed":"GET -","none":null,"route":"Route/shop#api","status":200}`
	for _, line := range got {
		if string(line) != want {
			t.Fatalf("got %s, want %s", line, want)
		}
	}
	if !json.Valid(got[0]) {
		t.Error("the line is not JSON")
	}
	if l.Dropped() != 1 {
		t.Errorf("lines after Close: got %d dropped, want 1", l.Dropped())
	}
}

func TestTCPRecord(t *testing.T) {
	f, err := parse("%REQ(:METHOD)% %RESP(X)% %PROTOCOL% %BYTES_SENT% %UPSTREAM_HOST%")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(appendText(nil, f, &Record{BytesSent: 7})); got != "- - - 7 -" {
		t.Errorf("got %q", got)
	}
}

type slowDisk struct {
	release chan struct{}
	wrote   chan int
}

func (s slowDisk) Write(p []byte) (int, error) {
	s.wrote <- len(p)
	<-s.release
	return len(p), nil
}
func (slowDisk) Close() error { return nil }

// A disk that stands still costs bounded memory, and no request waits for it.
func TestSlowDiskDropsAndCounts(t *testing.T) {
	disk := slowDisk{release: make(chan struct{}), wrote: make(chan int, 10)}
	l, err := newLogger(&config.AccessLog{Format: strings.Repeat("x", 64<<10) + "\n"}, disk)
	if err != nil {
		t.Fatal(err)
	}
	l.Log(record())
	<-disk.wrote
	for range 2 * bufferLimit / (64 << 10) {
		l.Log(record())
	}
	if l.Dropped() == 0 {
		t.Error("got no line dropped, want some")
	}
	close(disk.release)
	l.Close()
}

func BenchmarkLog(b *testing.B) {
	l, err := New(&config.AccessLog{Path: "/dev/null", JSON: map[string]string{"m": "%REQ(:METHOD)%", "s": "%RESPONSE_CODE%", "t": "%START_TIME%"}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := record()
	b.ReportAllocs()
	for b.Loop() {
		l.Log(r)
	}
}
