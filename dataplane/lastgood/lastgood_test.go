package lastgood

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var me = Node{ID: "p1", Cluster: "edge"}

func update(typeURL string, names ...string) client.Update {
	u := client.Update{TypeURL: typeURL}
	for _, name := range names {
		u.Resources = append(u.Resources, client.Resource{Name: name, Version: "v-" + name,
			Body: &anypb.Any{TypeUrl: typeURL, Value: []byte("body of " + name)}})
	}
	return u
}

// sum is what a configuration holds.
func sum(updates []client.Update) string {
	var b strings.Builder
	for _, u := range updates {
		fmt.Fprintf(&b, "%s:", u.TypeURL)
		for _, r := range u.Resources {
			fmt.Fprintf(&b, " %s@%s=%s/%s", r.Name, r.Version, r.Body.TypeUrl, r.Body.Value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

var two = []client.Update{update("clusters", "a", "b"), update("endpoints"), update("listeners", "")}

func TestFile(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	data := encode(me, &Saved{At: at, Updates: two})
	saved, err := decode(data, me)
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(saved.Updates); got != sum(two) || !saved.At.Equal(at) {
		t.Errorf("got %v\n%s", saved.At, got)
	}
	// Whatever is changed is found.
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1
		if _, err := decode(damaged, me); err == nil {
			t.Fatalf("byte %d is changed, and nobody minds", i)
		}
		if _, err := decode(data[:i], me); err == nil {
			t.Fatalf("%d bytes are there, and nobody minds", i)
		}
	}
	if _, err := decode(append(bytes.Clone(data), 0), me); err == nil {
		t.Error("a byte is too many, and nobody minds")
	}
	for _, other := range []Node{{ID: "p2", Cluster: "edge"}, {ID: "p1", Cluster: "core"}} {
		if _, err := decode(data, other); err == nil || !strings.Contains(err.Error(), `it is of node "p1" of fleet "edge"`) {
			t.Errorf("%v: got %v", other, err)
		}
	}
}

// FuzzLoad: whatever is in the file, whose sum may even be right, reading it ends well.
func FuzzLoad(f *testing.F) {
	f.Add(encode(me, &Saved{Updates: two})[len(magic)+32:])
	f.Add([]byte("\x00\x00\x00\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, content []byte) {
		whole := encode(me, &Saved{})
		whole = append(whole[:len(magic):len(magic)], sumOf(content)...)
		saved, err := decode(append(whole, content...), me)
		if err != nil {
			return
		}
		again, err := decode(encode(me, saved), me)
		if err != nil || sum(again.Updates) != sum(saved.Updates) {
			t.Fatal(err)
		}
	})
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if saved, err := Load(dir, me); saved != nil || err != nil {
		t.Fatalf("nothing there: got %v, %v", saved, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, me); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "is ignored: got another kind of file") {
		t.Errorf("got %v", err)
	}
	if _, err := NewKeeper(filepath.Join(dir, name, "x"), me, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "last good configuration: ") {
		t.Errorf("a folder in a file: got %v", err)
	}
}

// TestKeeper: changes are gathered, written whole and for nobody else; and the last one is written at the end.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "made", "by", "us")
		n := 0
		current := func() []client.Update { n++; return []client.Update{update("clusters", fmt.Sprint(n))} }
		k, err := NewKeeper(dir, me, current, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		want := func(when string, version int) {
			t.Helper()
			synctest.Wait()
			saved, err := Load(dir, me)
			if err != nil {
				t.Fatal(err)
			}
			got := "nothing"
			if saved != nil {
				got = sum(saved.Updates)
			}
			if version == 0 && got != "nothing" || version > 0 && got != sum([]client.Update{update("clusters", fmt.Sprint(version))}) {
				t.Errorf("%s: got %s, want version %d", when, got, version)
			}
		}
		for range 10 {
			k.Changed()
		}
		want("at once", 0)
		time.Sleep(hold)
		want("after a while", 1)
		time.Sleep(time.Hour)
		want("without a change", 1)
		k.Changed()
		cancel()
		<-done
		want("in the end", 2)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 {
			t.Error(info.Mode(), err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Error(info.Mode(), err)
		}
	})
}

// TestKeeperFails: what could not be written is told, and tried again.
func TestKeeperFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		var log bytes.Buffer
		k, err := NewKeeper(dir, me, func() []client.Update { return two }, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		k.Changed()
		time.Sleep(2 * hold)
		synctest.Wait()
		if !strings.Contains(log.String(), "could not be kept") {
			t.Errorf("the log says %q", log.String())
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(again + 2*hold)
		synctest.Wait()
		if saved, err := Load(dir, me); err != nil || saved == nil {
			t.Errorf("got %v, %v", saved, err)
		}
		cancel()
		<-done
	})
}

// TestLeftovers: what a killed writer left goes.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, name+".123.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := NewKeeper(dir, me, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Error("it may be another's still that writes")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	k.Run(ended)
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}

// TestStop: who has stopped leaves the file to others, even at its end.
func TestStop(t *testing.T) {
	dir := t.TempDir()
	k, err := NewKeeper(dir, me, func() []client.Update { return nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.Stop()
	k.Changed()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	k.Run(ended)
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		t.Error("it has written")
	}
}
