package dataplane_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// heir is one of several proxies that take each other's place.
type heir struct {
	ready chan struct{}
	pid   chan int
	ended chan error
	stop  context.CancelFunc
	log   *bytes.Buffer // once ended
}

func startHeir(t *testing.T, change func(*dataplane.Options)) *heir {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &heir{ready: make(chan struct{}), pid: make(chan int, 1), ended: make(chan error, 1), stop: cancel, log: &bytes.Buffer{}}
	options := dataplane.Options{
		DrainTime: 10 * time.Second, Ready: func() { close(h.ready) }, Yielded: func(pid int) { h.pid <- pid },
		Logger: slog.New(slog.NewTextHandler(h.log, nil)),
	}
	change(&options)
	go func() { h.ended <- dataplane.Run(ctx, options); close(h.ended) }()
	t.Cleanup(func() { cancel(); <-h.ended })
	return h
}

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(xdstest.Patience):
		t.Fatalf("waited in vain for %s", what)
		panic("not reached")
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSuccession: the second has the listener, the admin address, the path and the folder of the first, which ends by itself, and
// finishes what it has. One that cannot become ready is nobody's heir.
func TestSuccession(t *testing.T) {
	cp := xdstest.Start(t, nil)
	port, admin := freePort(t), freePort(t)
	resources := fleet(t, upstream(t, "one"), time.Second, "")
	resources[2] = listenerAt(t, port, "")
	cp.Set("east", resources...)
	dir := t.TempDir()
	options := func(o *dataplane.Options) {
		text, err := bootstrap.Write(bootstrap.Options{Server: cp.Addr, Fleet: "east", ID: "e", Admin: fmt.Sprintf("127.0.0.1:%d", admin)})
		if err != nil {
			t.Fatal(err)
		}
		o.Bootstrap, o.Handover, o.State = text, filepath.Join(dir, "s"), filepath.Join(dir, "state")
	}
	ask := func() {
		t.Helper()
		if status, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); status != 200 || body != "one" {
			t.Errorf("got %d %q", status, body)
		}
		if status, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/ready", admin)); status != 200 || body != "LIVE\n" {
			t.Errorf("/ready: got %d %q", status, body)
		}
	}
	first := startHeir(t, options)
	await(t, "the first", first.ready)
	ask()

	lost := startHeir(t, func(o *dataplane.Options) {
		options(o)
		text, err := bootstrap.Write(bootstrap.Options{Server: fmt.Sprintf("127.0.0.1:%d", freePort(t)), Fleet: "east", ID: "e", Admin: fmt.Sprintf("127.0.0.1:%d", admin)})
		if err != nil {
			t.Fatal(err)
		}
		o.Bootstrap, o.State = text, ""
	})
	bad := startHeir(t, func(o *dataplane.Options) { options(o); o.NodeID = "other" })
	if err := await(t, "the other node's end", bad.ended); err == nil || !strings.Contains(err.Error(), "handover: ") {
		t.Errorf("another node: %v", err)
	}
	lost.stop()
	if err := await(t, "the lost one's end", lost.ended); err != nil {
		t.Error(err)
	}
	ask()

	// A connection that the first has.
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := func() string {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(xdstest.Patience))
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	line()
	kept := filepath.Join(dir, "state", "last-good")
	for deadline := time.Now().Add(xdstest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(kept); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is kept")
		}
	}
	second := startHeir(t, options)
	await(t, "the second", second.ready)
	if pid := await(t, "the first to yield", first.pid); pid != os.Getpid() {
		t.Errorf("pid: got %d, want %d", pid, os.Getpid())
	}
	for deadline := time.Now().Add(xdstest.Patience); !strings.Contains(line(), "connection: close"); {
		if time.Now().After(deadline) {
			t.Fatal("the first's connection is not told that it ends")
		}
	}
	if err := await(t, "the first's end", first.ended); err != nil {
		t.Error(err)
	}
	ask()
	if log := first.log.String(); !strings.Contains(log, "the next process has taken over") || strings.Contains(log, "level=ERROR msg=\"no other") {
		t.Error(log)
	}
	second.stop()
	if err := await(t, "the second's end", second.ended); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Error("somebody listens still")
	}
}

// TestHeirOfTheDying: a process that is told to end while its heir gets ready leaves it sockets that work.
func TestHeirOfTheDying(t *testing.T) {
	port := freePort(t)
	cp := xdstest.Start(t, nil)
	resources := fleet(t, upstream(t, "one"), time.Second, "")
	resources[2] = listenerAt(t, port, "")
	cp.Set("east", resources...)
	path := filepath.Join(t.TempDir(), "s")
	heirOf := func(server string) *heir {
		return startHeir(t, func(o *dataplane.Options) {
			text, err := bootstrap.Write(bootstrap.Options{Server: server, Fleet: "east", ID: "e"})
			if err != nil {
				t.Fatal(err)
			}
			o.Bootstrap, o.Handover = text, path
		})
	}
	first := heirOf(cp.Addr)
	await(t, "the first", first.ready)
	// The second's control plane comes when the first has gone.
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	taking := make(chan struct{})
	second := startHeir(t, func(o *dataplane.Options) {
		text, err := bootstrap.Write(bootstrap.Options{Server: address, Fleet: "east", ID: "e"})
		if err != nil {
			t.Fatal(err)
		}
		o.Bootstrap, o.Handover = text, path
		o.Listening = func(net.Addr) { close(taking) }
	})
	await(t, "the second to have the sockets", taking)
	first.stop()
	if err := await(t, "the first's end", first.ended); err != nil {
		t.Error(err)
	}
	late, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	go func() {
		for {
			conn, err := late.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", cp.Addr)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(to, conn); _ = to.Close() }()
			go func() { _, _ = io.Copy(conn, to); _ = conn.Close() }()
		}
	}()
	await(t, "the second", second.ready)
	if status, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); status != 200 || body != "one" {
		t.Errorf("got %d %q", status, body)
	}
	second.stop()
	if err := await(t, "the second's end", second.ended); err != nil {
		t.Error(err)
	}
}

// TestHeirOfLess: a program that cannot serve a listener that the one before serves does not take its place. One whose listener is
// no longer wanted does.
func TestHeirOfLess(t *testing.T) {
	for name, test := range map[string]struct {
		extra string
		takes bool
	}{
		"refused":    {`"transparent":true,`, false},
		"not wanted": {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			one := upstream(t, "one")
			serve := func(listener bool, extra string) string {
				cp := xdstest.Start(t, nil)
				resources := fleet(t, one, time.Second, "")
				if resources[2] = listenerAt(t, port, extra); !listener {
					resources = resources[:2]
				}
				cp.Set("east", resources...)
				return cp.Addr
			}
			path := filepath.Join(t.TempDir(), "s")
			heirOf := func(server string) *heir {
				return startHeir(t, func(o *dataplane.Options) {
					text, err := bootstrap.Write(bootstrap.Options{Server: server, Fleet: "east", ID: "e"})
					if err != nil {
						t.Fatal(err)
					}
					o.Bootstrap, o.Handover = text, path
				})
			}
			first := heirOf(serve(true, ""))
			await(t, "the first", first.ready)
			second := heirOf(serve(!test.takes, test.extra))
			if test.takes {
				await(t, "the second", second.ready)
				await(t, "the first to yield", first.pid)
				return
			}
			if err := await(t, "the second's end", second.ended); err == nil || !strings.Contains(err.Error(), "a part of the configuration was refused, and nothing here serves 127.0.0.1:") {
				t.Error(err)
			}
			if status, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); status != 200 || body != "one" {
				t.Errorf("got %d %q", status, body)
			}
		})
	}
}
