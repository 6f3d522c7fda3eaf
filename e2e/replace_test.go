package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const replaceDefinitions = `kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP, accessLog: {disabled: true}}
  - {name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [shop], accessLog: {disabled: true}}
  - {name: tcp, address: 127.0.0.1, port: {{port "tcp"}}, protocol: TCP, backends: [{service: bytes}], accessLog: {disabled: true}}
---
{kind: Service, name: one, hosts: [shop.example.com], gateways: [web], endpoints: ["{{upstream "u1"}}"]}
---
{kind: Service, name: bytes, endpoints: ["{{echo "e1"}}"]}
---
{kind: Certificate, name: shop, selfSigned: {hosts: [shop.example.com]}}
`

// replaced is a control plane, and a proxy that is to be replaced.
type replaced struct {
	stage            *harness.Stage
	cp               *harness.ControlPlane
	bootstrap, admin string
	words            []string
}

func stageReplaced(t *testing.T) *replaced {
	t.Helper()
	r := &replaced{stage: harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(replaceDefinitions)}})}
	for _, u := range r.stage.Upstreams {
		u.CountOnly()
	}
	r.cp = harness.StartControlPlane(t, r.stage.Dir)
	r.bootstrap, r.admin = harness.NewBootstrap(t, r.cp.Addr, "default", "p1")
	dir := t.TempDir()
	r.words = []string{"--handover", filepath.Join(dir, "handover.sock"), "--state", filepath.Join(dir, "state"), "--drain-time-s", "30"}
	return r
}

func (r *replaced) start(t *testing.T) *harness.Proxy {
	t.Helper()
	return harness.StartProxyFrom(t, harness.Go, r.bootstrap, r.admin, r.words...)
}

// load is 200 connections that may be refused nowhere.
func (r *replaced) load(t *testing.T) *harness.Crowd {
	crowd := harness.NewCrowd(t)
	for _, g := range []struct {
		n int
		harness.Group
	}{
		{60, harness.Group{Name: "http1", Addr: "http", Proto: "HTTP/1.1"}},
		{40, harness.Group{Name: "http2", Addr: "http", Proto: "HTTP/2"}},
		{30, harness.Group{Name: "https1", Addr: "https", Proto: "HTTP/1.1", TLS: true}},
		{30, harness.Group{Name: "https2", Addr: "https", Proto: "HTTP/2", TLS: true}},
		{20, harness.Group{Name: "short", Addr: "http", Proto: "HTTP/1.1", Most: 1}},
		// Nobody can ask a client of TCP to end; it ends by itself.
		{20, harness.Group{Name: "tcp", Addr: "tcp", Proto: "TCP", Most: 20}},
	} {
		g.Addr, g.Host = r.stage.Addr(t, "127.0.0.1", g.Addr), "shop.example.com"
		g.Delay, g.Pause = 20*time.Millisecond, 150*time.Millisecond
		crowd.Join(g.n, g.Group)
	}
	return crowd
}

// judge wants that nothing of a load failed or was closed without a word.
func judge(t *testing.T, crowd *harness.Crowd) {
	t.Helper()
	for name, told := range crowd.Stop() {
		t.Logf("%-7s %6d requests on %4d connections, %d asked to end, %d closed", name, told.Requests, told.Connections, told.Asked, told.Closed)
		if told.Failures+told.Closed > 0 || told.Requests == 0 {
			t.Errorf("%s: %d of %d requests failed, %d connections were closed; %v", name, told.Failures, told.Requests, told.Closed, told.Words)
		}
	}
}

// settle waits until a crowd has sent n requests more, in each group.
func settle(t *testing.T, crowd *harness.Crowd, n int) {
	t.Helper()
	before := crowd.So()
	harness.Eventually(t, nil, "requests go on", func() error {
		for name, now := range crowd.So() {
			if now.Requests < before[name].Requests+n {
				return fmt.Errorf("%s: %d, at first %d", name, now.Requests, before[name].Requests)
			}
		}
		return nil
	})
}

// TestReplace: five times a new process takes the place of the old, under load. No connection is refused, no request fails; the
// old process ends when its last connection has.
func TestReplace(t *testing.T) {
	r := stageReplaced(t)
	proxy := r.start(t)
	proxy.WaitReady()
	crowd := r.load(t)
	settle(t, crowd, 10)
	all := []*harness.Proxy{proxy}
	health := harness.NewCrowd(t)
	health.Join(2, harness.Group{Name: "ready", Addr: r.admin, Proto: "HTTP/1.1", Host: "admin", Paths: []string{"/ready"}, Most: 1, Pause: 10 * time.Millisecond})
	for range 5 {
		proxy = r.start(t)
		proxy.WaitLog(`msg="took over" pid=` + strconv.Itoa(all[len(all)-1].PID()))
		settle(t, crowd, 10)
		all = append(all, proxy)
	}
	for _, old := range all[:len(all)-1] {
		select {
		case <-old.Done():
		case <-time.After(harness.Patience):
			t.Fatalf("process %d has not ended", old.PID())
		}
		if code := old.ExitCode(); code != 0 {
			t.Errorf("exit code: got %d, want 0", code)
		}
	}
	judge(t, crowd)
	// An idle connection to the admin server may be closed; its address answers as long as there is a process.
	if told := health.Stop()["ready"]; told.Failures > 0 || told.Requests == 0 {
		t.Errorf("/ready: %d of %d requests failed: %v", told.Failures, told.Requests, told.Words)
	}
	r.cp.WaitSynced("default", 1)
	if info, err := os.Stat(r.words[1]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v, want 0600", info, err)
	}
	proxy.Stop()
	if _, err := os.Lstat(r.words[1]); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestReplaceFails: a next process that is of another node, cannot start, or is killed before it is ready, leaves the old one
// serving, and one that comes then takes over still.
func TestReplaceFails(t *testing.T) {
	r := stageReplaced(t)
	proxy := r.start(t)
	proxy.WaitReady()
	crowd := r.load(t)
	settle(t, crowd, 5)

	other := harness.StartProxyFrom(t, harness.Go, r.bootstrap, r.admin, append(r.words, "--service-node", "p2")...)
	other.WaitLog(`the process there says: this is node "p1" of fleet "default", and the next is node "p2" of fleet "default"`)
	<-other.Done()

	// A listener that cannot be bound.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := harness.StartProxyFrom(t, harness.Go, r.bootstrap, r.admin, append(r.words, "--config-yaml",
		"static_resources: {listeners: [{name: x, address: {socket_address: {address: 127.0.0.1, port_value: "+port(taken)+
			"}}, filter_chains: [{filters: [{name: tcp, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: sluice_control_plane}}]}]}]}")...)
	bad.WaitLog("address already in use")
	<-bad.Done()
	proxy.WaitLog("the next process has not taken over; this one goes on")

	// One that never hears of its control plane, and has nothing else.
	lost, _ := harness.NewBootstrap(t, harness.Loopback(t), "default", "p1")
	killed := harness.StartProxyFrom(t, harness.Go, lost, r.admin, "--handover", r.words[1])
	killed.WaitLog(`msg="taking over" pid=` + strconv.Itoa(proxy.PID()))
	settle(t, crowd, 5)
	killed.Kill()

	if _, err := harness.Get("http://" + r.admin + "/ready"); err != nil {
		t.Error(err)
	}
	next := r.start(t)
	next.WaitLog(`msg="took over"`)
	settle(t, crowd, 5)
	select {
	case <-proxy.Done():
	case <-time.After(harness.Patience):
		t.Error("the old process has not ended")
	}
	judge(t, crowd)
}

func port(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }

// manager is the service manager's socket.
type manager struct{ conn *net.UnixConn }

func listenManager(t *testing.T) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{conn}
}

// wait waits for a message that fits a pattern as a whole.
func (m *manager) wait(t *testing.T, pattern string) []string {
	t.Helper()
	buf := make([]byte, 4096)
	_ = m.conn.SetReadDeadline(time.Now().Add(harness.Patience))
	n, err := m.conn.Read(buf)
	if err != nil {
		t.Fatalf("want %q: %v", pattern, err)
	}
	got := regexp.MustCompile(`^(?:` + pattern + `)$`).FindStringSubmatch(string(buf[:n]))
	if got == nil {
		t.Fatalf("the service manager is told %q, want %q", buf[:n], pattern)
	}
	return got
}

// TestReplaceBySignal: SIGUSR2 starts what stands in the program's place by now, and the service manager is told of each step.
// A program that does not start leaves all as it was.
func TestReplaceBySignal(t *testing.T) {
	r := stageReplaced(t)
	told := listenManager(t)
	program := filepath.Join(t.TempDir(), "sluice-proxy")
	install := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(program+"~", text, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(program+"~", program); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(filepath.Join(harness.Binaries(t), "sluice-proxy"))
	if err != nil {
		t.Fatal(err)
	}
	install(binary)
	old := harness.Start(t, "old", program, append([]string{"-c", r.bootstrap}, r.words...)...)
	told.wait(t, "READY=1\nSTATUS=serving")
	crowd := r.load(t)

	install([]byte("#!/bin/sh\nexit 3\n"))
	old.Signal(syscall.SIGUSR2)
	told.wait(t, `RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=process \d+ is taking over`)
	told.wait(t, "READY=1\nSTATUS=serving; the next process has failed")
	settle(t, crowd, 5)

	install(binary)
	old.Signal(syscall.SIGUSR2)
	next := told.wait(t, `RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=process (\d+) is taking over`)[1]
	pid, _ := strconv.Atoi(next)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if got := told.wait(t, `MAINPID=(\d+)\nREADY=1`)[1]; got != next {
		t.Errorf("MAINPID is %s, want %s", got, next)
	}
	told.wait(t, "READY=1\nSTATUS=serving")
	settle(t, crowd, 5)
	// Not Done, which waits for the end of the log: that is the next process's by now.
	harness.Eventually(t, nil, "the old process ends", func() error {
		if err := syscall.Kill(old.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
	judge(t, crowd)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	told.wait(t, "STOPPING=1\nSTATUS=draining")
}

// TestSocketActivation: sockets that the service manager has bound serve the listeners of their addresses. Who connects while no
// process runs waits. A socket that no listener wants is told.
func TestSocketActivation(t *testing.T) {
	r := stageReplaced(t)
	var files []*os.File
	bind := func(address string) {
		t.Helper()
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // the copy is what counts
		t.Cleanup(func() { _ = file.Close() })
		files = append(files, file)
	}
	stray := harness.Loopback(t)
	for _, address := range []string{r.stage.Addr(t, "127.0.0.1", "http"), r.admin, stray} {
		bind(address)
	}
	start := func() *harness.Process {
		// The variable must have the process's own id.
		return harness.StartWith(t, "activated", files, "/bin/sh", append([]string{"-c",
			`LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=web:admin:stray exec "$0" "$@"`,
			filepath.Join(harness.Binaries(t), "sluice-proxy"), "-c", r.bootstrap}, r.words...)...)
	}
	ask := func() chan *harness.Answer {
		answer := make(chan *harness.Answer, 1)
		go func() {
			answer <- harness.Do(&harness.Request{Method: "GET", Addr: r.stage.Addr(t, "127.0.0.1", "http"), Proto: "HTTP/1.1", Authority: "shop.example.com", Path: "/"}, false)
		}()
		return answer
	}
	early := ask()
	for range 2 {
		p := start()
		if a := <-early; a.Status != 200 {
			t.Errorf("who came before the process: got %d, %s, want 200", a.Status, a.Refused)
		}
		p.WaitLog("no listener has the address of a socket that this process was started with.*" + strings.ReplaceAll(stray, ".", `\.`) + ` \(stray\)`)
		if _, err := harness.Get("http://" + r.admin + "/ready"); err != nil {
			t.Error(err)
		}
		// A listener that goes and comes back has the same socket again.
		text := r.stage.Text(t, "web.yaml")
		r.stage.Put(t, "web.yaml", regexp.MustCompile(`(?m)^  - \{name: http,.*\n`).ReplaceAllString(text, ""))
		harness.Eventually(t, p, "it is gone", func() error {
			if page, err := harness.Get("http://" + r.admin + "/listeners"); err != nil || strings.Contains(page, r.stage.Addr(t, "127.0.0.1", "http")) {
				return errNotYet
			}
			return nil
		})
		late := ask()
		r.stage.Put(t, "web.yaml", text)
		if a := <-late; a.Status != 200 {
			t.Errorf("who came while there was no listener: got %d, %s, want 200", a.Status, a.Refused)
		}
		// And the next process gets it from this one.
		next := harness.StartProxyFrom(t, harness.Go, r.bootstrap, r.admin, r.words...)
		next.WaitLog(`msg="took over"`)
		<-p.Done()
		if a := <-ask(); a.Status != 200 {
			t.Errorf("after a replacement: got %d, %s, want 200", a.Status, a.Refused)
		}
		next.Stop()
		early = ask()
	}
	// Nobody is there any more; the socket is.
	conn, err := net.Dial("tcp", r.stage.Addr(t, "127.0.0.1", "http"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
