package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// The systems that are measured. Ratios are of Ours.
const (
	Ours          = "sluice"
	SnapshotCache = "SnapshotCache"
	LinearCache   = "LinearCache"
)

// Systems are all, in the order of the table.
var Systems = []string{Ours, SnapshotCache, LinearCache}

// system is a control plane that runs, over a world of its own.
type system struct {
	name    string
	world   *world
	address string // where xDS is
	process *harness.Process
	profile string // where profiles of a CPU are had, if anywhere
	// stage prepares an edit, change makes it.
	stage, change func(e *edit) error
	stop          func()
}

// HoldOff is how long our control plane waits for things to be quiet after a save: its default.
const HoldOff = 50 * time.Millisecond

// patience is for everything that is measured.
const patience = 5 * time.Minute

// start starts a system, and waits until it can serve. profiled runs ours in a program that can be profiled.
func start(t *testing.T, name string, services int, profiled bool) *system {
	t.Helper()
	w, err := newWorld(t.TempDir(), services)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{name: name, world: w, address: harness.Loopback(t)}
	if name == Ours {
		startOurs(t, s, profiled)
	} else {
		startPeer(t, s)
	}
	return s
}

func startOurs(t *testing.T, s *system, profiled bool) {
	ops := harness.Loopback(t)
	if profiled {
		s.process = harness.Start(t, s.name, program(t, "profiled"), s.world.dir, s.address, ops)
		s.profile = "http://" + ops + "/profile"
	} else {
		s.process = harness.Start(t, s.name, filepath.Join(harness.Binaries(t), "sluice"),
			"controlplane", "-f", s.world.dir, "--listen", s.address, "--listen-ops", ops, "--state", t.TempDir())
	}
	until(t, s.process, "control plane ready", func() error { return ask(http.MethodGet, "http://"+ops+"/readyz", nil) })
	s.stage = func(*edit) error { return nil }
	s.change = (*edit).save
	s.stop = s.process.Stop
}

func startPeer(t *testing.T, s *system) {
	control := "http://" + harness.Loopback(t)
	s.process = harness.Start(t, s.name, program(t, "gocontrolplane"), s.name, s.address, control[len("http://"):])
	translator, err := newTranslator(s.world.dir)
	if err != nil {
		t.Fatal(err)
	}
	stage := func() error {
		changed, err := translator.changed()
		if err != nil {
			return err
		}
		body, err := proto.Marshal(changed)
		if err != nil {
			return err
		}
		return ask(http.MethodPost, control+"/stage", body)
	}
	s.stage = func(e *edit) error {
		if err := e.save(); err != nil {
			return err
		}
		return stage()
	}
	s.change = func(*edit) error { return ask(http.MethodPost, control+"/apply", nil) }
	s.stop = func() {
		s.process.Kill() // it would wait for its streams
		_ = translator.close()
	}
	until(t, s.process, s.name+" listens", func() error { return ask(http.MethodPost, control+"/stage", nil) })
	if err := errors.Join(stage(), s.change(nil)); err != nil {
		t.Fatal(err)
	}
}

// until asks until an answer is nil.
func until(t *testing.T, p *harness.Process, what string, ask func() error) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("%s: it ended: %v", what, err)
		default:
		}
		if time.Since(begin) > patience {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

func ask(method, url string, body []byte) error {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", url, response.StatusCode, text)
	}
	return err
}

var programs struct {
	sync.Mutex
}

// program is a program of a folder here, built once.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	path := filepath.Join(harness.Binaries(t), name)
	cmd := exec.Command("go", "build", "-o", path, "./e2e/bench/fleet/"+name)
	cmd.Dir = harness.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}
