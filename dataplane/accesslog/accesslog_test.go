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

// of makes a format: texts are literals.
func of(parts ...any) (f config.Format) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			f = append(f, config.Part{Literal: p})
		case config.Part:
			f = append(f, p)
		}
	}
	return f
}

// op is an operator with its argument, if it has one.
func op(name string, arg ...string) config.Part {
	return config.Part{Name: name, Arg: strings.Join(arg, "")}
}

// How texts are read is decode's: its tests write lines, too.
func TestText(t *testing.T) {
	for want, f := range map[string]config.Format{
		"":                         nil,
		"100%":                     of("100", "%"),
		"2026-01-02T03":            of(op("START_TIME", "2006-01-02T15")),
		"GET /a?b=c HTTP/1.1":      of(op("REQ", ":method"), " ", config.Part{Name: "REQ", Arg: "x-original-path", Alt: ":path"}, " ", op("PROTOCOL")),
		`curl\x0d\x0a"x"`:          of(op("REQ", "user-agent")),
		"curl":                     of(config.Part{Name: "REQ", Arg: "user-agent", Max: 4}),
		"- -":                      of(op("REQ", "x-none"), " ", op("RESPONSE_FLAGS")),
		"v1 200":                   of(op("RESP", "x-served-by"), " ", op("RESPONSE_CODE")),
		"1500ms":                   of(op("DURATION"), "ms"),
		"192.0.2.1:1234 192.0.2.1": of(op("DOWNSTREAM_REMOTE_ADDRESS"), " ", op("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT")),
	} {
		if got := string(appendText(nil, f, record())); got != want {
			t.Errorf("%s: got %q, want %q", f, got, want)
		}
	}
}

func TestJSONLinesInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := New(&config.AccessLog{Path: path, JSON: map[string]config.Format{
		"agent": of(op("REQ", "user-agent")), "status": of(op("RESPONSE_CODE")), "none": of(op("REQ", "x")),
		"mixed": of(op("REQ", ":method"), " ", op("REQ", "x")), "route": of(op("ROUTE_NAME")),
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
	f := of(op("REQ", ":method"), " ", op("RESP", "x"), " ", op("PROTOCOL"), " ", op("BYTES_SENT"), " ", op("UPSTREAM_HOST"))
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
	l := newLogger(&config.AccessLog{Format: of(strings.Repeat("x", 64<<10) + "\n")}, disk)
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
	l, err := New(&config.AccessLog{Path: "/dev/null", JSON: map[string]config.Format{
		"m": of(op("REQ", ":method")), "s": of(op("RESPONSE_CODE")), "t": of(op("START_TIME", "2006-01-02T15:04:05.000Z07:00")),
	}})
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
