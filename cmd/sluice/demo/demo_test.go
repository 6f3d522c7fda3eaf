package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func serve(t *testing.T, run func(context.Context, net.Listener, string) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, l, "v1") }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return l.Addr().String()
}

func TestHTTP(t *testing.T) {
	addr := serve(t, ServeHTTP)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, test := range []struct {
		accept, want string
	}{{"*/*", "Hello from v1\nPOST /x?y\n"}, {"application/json", `"name": "v1"`}} {
		req, _ := http.NewRequest("POST", "http://"+addr+"/x?y", strings.NewReader("hello"))
		req.Header.Set("Accept", test.accept)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !strings.Contains(string(body), test.want) || resp.Header.Get("X-Upstream") != "v1" {
			t.Errorf("Accept %s: got %q", test.accept, body)
		}
		if test.accept == "application/json" {
			var r Reply
			if err := json.Unmarshal(body, &r); err != nil || r.Body != 5 || r.Method != "POST" {
				t.Errorf("got %+v, %v", r, err)
			}
		}
	}
}

func TestTCP(t *testing.T) {
	c, err := net.Dial("tcp", serve(t, ServeTCP))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "hello\nworld\n")
	r := bufio.NewReader(c)
	for _, want := range []string{"v1: hello\n", "v1: world\n"} {
		if got, err := r.ReadString('\n'); got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
}
