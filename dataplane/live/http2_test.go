package live

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// duplex is an origin that speaks HTTP/2 with prior knowledge, and echoes what comes as it comes, in upper case.
func duplex(t *testing.T) config.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.WriteHeader(200)
		controller := http.NewResponseController(w)
		_ = controller.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			_ = controller.Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"X-Seen", fmt.Sprint(r.Trailer))
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return config.Endpoint{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}
}

// TestFullDuplex is a gRPC stream through the proxy: HTTP/2 on both sides, each side speaking in turn, and trailers.
func TestFullDuplex(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"grpc": duplex(t)})
	c.Clusters["grpc"].HTTP2 = true
	c.RouteTables["rt"] = table("rt", "grpc")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("tls", "rt", "shop.test"))
	c.Certificates["tls"] = selfSigned(t, "tls", "shop.test")
	apply(t, r, c)
	client := newClient(t, r.addressOf(t, "web"), "https", "h2")
	reader, writer := io.Pipe()
	req, err := http.NewRequest("POST", "https://shop.test/echo", reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TE", "trailers")
	req.Trailer = http.Header{"X-Sum": nil}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, word := range []string{"one", "two", "three"} {
		if _, err := writer.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != string(bytes.ToUpper([]byte(word))) {
			t.Fatal(string(got), err)
		}
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	go func() {
		_, _ = writer.Write(big)
		req.Trailer.Set("X-Sum", "7")
		writer.Close()
	}()
	rest, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(rest, bytes.ToUpper(big)) {
		t.Fatalf("%d bytes, %v", len(rest), err)
	}
	if got := fmt.Sprint(res.Trailer); got != "map[Grpc-Status:[0] X-Seen:[map[X-Sum:[7]]]]" {
		t.Error(got)
	}
}

// TestTranslation: each HTTP in front of each HTTP behind carries big bodies both ways.
func TestTranslation(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"h1": {}, "h2": duplex(t)})
	echo := origin(t, "A")
	c.Clusters["h1"].Static = []config.Endpoint{{Address: echo.Address, Weight: 1}}
	c.Clusters["h2"].HTTP2 = true
	for _, name := range []string{"h1", "h2"} {
		c.RouteTables[name] = table(name, name)
		c.Listeners[name] = on(name, "127.0.0.1:0", httpChain("plain", name))
	}
	apply(t, r, c)
	big := bytes.Repeat([]byte("0123456789ABCDEF"), 1<<16)
	for _, behind := range []string{"h1", "h2"} {
		for _, front := range []string{"http/1.1", "h2c"} {
			t.Run(front+" to "+behind, func(t *testing.T) {
				client := newClient(t, r.addressOf(t, behind), "http", front)
				client.Timeout = 20 * time.Second
				for range 3 {
					res, err := client.Post("http://x/", "a/b", bytes.NewReader(big))
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(res.Body)
					res.Body.Close()
					want := big
					if behind == "h1" {
						want = append([]byte("A POST / "), big...)
					}
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes, %v", len(got), err)
					}
				}
				if behind == "h1" { // the other answers ahead of the body's end, which costs HTTP/1.1 its connection
					wantConnections(t, r, behind, map[string]int64{"http/1.1": 1, "h2c": 2}[front])
				}
			})
		}
	}
}

// TestLogOfHTTP2: the log sees an answer's head after the exchange with the upstream is over.
func TestLogOfHTTP2(t *testing.T) {
	r := newRuntime(t)
	log := t.TempDir() + "/log"
	c := makeConfig(map[string]config.Endpoint{"h2": duplex(t)})
	c.Clusters["h2"].HTTP2 = true
	c.RouteTables["rt"] = table("rt", "h2")
	chain := httpChain("plain", "rt")
	chain.HTTP.AccessLogs = []*config.AccessLog{{Path: log, Format: config.Format{
		{Name: "RESP", Arg: "trailer"}, {Literal: " "}, {Name: "RESP", Arg: ":status"}, {Literal: "\n"},
	}}}
	c.Listeners["web"] = on("web", "127.0.0.1:0", chain)
	apply(t, r, c)
	client := newClient(t, r.addressOf(t, "web"), "http", "h2c")
	for range 3 {
		client.want(t, "x", "/", "HTTP/2.0 200")
	}
	want := strings.Repeat("Grpc-Status 200\n", 3)
	for deadline := time.Now().Add(5 * time.Second); ; {
		got, _ := os.ReadFile(log)
		if string(got) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
