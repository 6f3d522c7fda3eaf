package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is a set of files in words, with paths relative to dir.
func text(dir string, files []File) string {
	var parts []string
	for _, f := range files {
		name := strings.TrimPrefix(f.Path, dir+"/")
		if f.Err != nil {
			parts = append(parts, name+"!")
			continue
		}
		parts = append(parts, name+"="+string(f.Data))
	}
	return strings.Join(parts, " ")
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "sub/deep/c.json", "README.md", ".hidden.yaml", ".git/x.yaml", "b.yaml~", ".b.yaml.swp",
		"#b.yaml#", "4913", "x.tmp", "x.yaml.bak", "shop.crt", "D.YAML"} {
		write(t, filepath.Join(dir, name), filepath.Base(name))
	}
	must(t, os.Symlink("..", filepath.Join(dir, "sub/loop")))
	must(t, os.Symlink("b.yaml", filepath.Join(dir, "link.yaml")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dead.yaml")))
	must(t, os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o755))
	other := t.TempDir()
	write(t, filepath.Join(other, "e.yaml"), "e")
	must(t, os.Symlink(other, filepath.Join(dir, "conf.d")))
	must(t, os.Symlink("shop.crt", filepath.Join(dir, "link.crt")))

	files, err := Read([]string{dir, filepath.Join(dir, "README.md"), "-", filepath.Join(dir, "b.yaml")}, strings.NewReader("in"))
	want := "<stdin>=in D.YAML=D.YAML README.md=README.md a.yml=a.yml b.yaml=b.yaml conf.d/e.yaml=e dead.yaml! link.yaml=b.yaml sub/deep/c.json=c.json"
	slices.SortFunc(files, func(a, b File) int {
		return strings.Compare(strings.TrimPrefix(a.Path, dir+"/"), strings.TrimPrefix(b.Path, dir+"/"))
	})
	if got := text(dir, files); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), "dead.yaml") {
		t.Errorf("got error %v, want one that names dead.yaml", err)
	}
	if paths, err := Files(filepath.Join(dir, "sub/deep")); err != nil || len(paths) != 1 {
		t.Errorf("got %v, %v, want the one file", paths, err)
	}
	if _, err := Read([]string{filepath.Join(dir, "none")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
	big := filepath.Join(dir, "big")
	f, err := os.Create(big)
	must(t, err)
	must(t, f.Truncate(MaxFileSize+1))
	must(t, f.Close())
	if _, err := Read([]string{big}, nil); err == nil || !strings.Contains(err.Error(), "want a smaller file") {
		t.Errorf("got %v, want that the file is too large", err)
	}
}

// watch begins to watch with short times, and returns a function that waits for a set of files.
func watch(t *testing.T, dir string, opts Options) (w *Watcher, want func(what string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	if opts.Paths == nil {
		opts.Paths = []string{dir}
	}
	if opts.Grace == 0 {
		opts.Grace = 100 * time.Millisecond
	}
	if opts.HoldOff == 0 {
		opts.HoldOff = 10 * time.Millisecond
	}
	w = Watch(ctx, opts)
	t.Cleanup(func() {
		cancel()
		<-w.Done()
	})
	return w, func(what string) {
		t.Helper()
		var seen []string
		for {
			files, err := w.Next(ctx)
			if err != nil {
				t.Fatalf("got %q, want %q", seen, what)
			}
			got := text(dir, files)
			if got == what {
				return
			}
			seen = append(seen, got)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("a.yaml"), "1")
	_, want := watch(t, dir, Options{})
	want("a.yaml=1")

	write(t, path("a.yaml"), "2")
	want("a.yaml=2")

	// An atomic save, as editors do it.
	write(t, path(".a.yaml.swp"), "x")
	write(t, path("4913"), "x")
	write(t, path("a.yaml.tmp"), "3")
	must(t, os.Rename(path("a.yaml.tmp"), path("a.yaml")))
	want("a.yaml=3")

	// A folder that is made later, with a folder in it.
	write(t, path("x/y/b.yaml"), "b")
	want("a.yaml=3 x/y/b.yaml=b")
	write(t, path("x/y/b.yaml"), "bb")
	want("a.yaml=3 x/y/b.yaml=bb")

	// A folder that is swapped for another.
	write(t, filepath.Join(t.TempDir(), "unused"), "")
	must(t, os.Rename(path("x"), path(".old")))
	want("a.yaml=3")
	write(t, path(".new/y/b.yaml"), "new")
	must(t, os.Rename(path(".new"), path("x")))
	want("a.yaml=3 x/y/b.yaml=new")
	write(t, path("x/y/b.yaml"), "newer")
	want("a.yaml=3 x/y/b.yaml=newer")

	// Deleted, and all of it.
	must(t, os.Remove(path("a.yaml")))
	want("x/y/b.yaml=newer")
	must(t, os.RemoveAll(dir))
	want(dir + "!")
	write(t, path("c.yaml"), "c")
	want("c.yaml=c")
	write(t, path("c.yaml"), "cc")
	want("c.yaml=cc")
}

// TestKubernetes swaps a mounted ConfigMap as the kubelet does.
func TestKubernetes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("..2026_01/a.yaml"), "1")
	must(t, os.Symlink("..2026_01", path("..data")))
	must(t, os.Symlink("..data/a.yaml", path("a.yaml")))
	_, want := watch(t, dir, Options{})
	want("a.yaml=1")
	old := "..2026_01"
	for i := 2; i < 5; i++ {
		next := fmt.Sprintf("..2026_%02d", i)
		write(t, path(next+"/a.yaml"), fmt.Sprint(i))
		must(t, os.Symlink(next, path("..data_tmp")))
		must(t, os.Rename(path("..data_tmp"), path("..data")))
		must(t, os.RemoveAll(path(old)))
		old = next
		want(fmt.Sprintf("a.yaml=%d", i))
	}
}

func TestLinkedFolder(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("v1/a.yaml"), "1")
	write(t, path("v2/a.yaml"), "2")
	must(t, os.Symlink("v1", path("current")))
	_, want := watch(t, path("current"), Options{})
	want("a.yaml=1")
	must(t, os.Symlink("v2", path("next")))
	must(t, os.Rename(path("next"), path("current")))
	want("a.yaml=2")
	write(t, path("v2/a.yaml"), "3")
	want("a.yaml=3")
}

func TestNamedFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	write(t, file, "1")
	_, want := watch(t, dir, Options{Paths: []string{file, "-"}, Stdin: strings.NewReader("in")})
	want("conf=1 <stdin>=in")
	write(t, file+".new", "2")
	must(t, os.Rename(file+".new", file))
	want("conf=2 <stdin>=in")
	must(t, os.Remove(file))
	want("conf! <stdin>=in")
	write(t, file, "3")
	want("conf=3 <stdin>=in")
}

func TestNotThereYet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	_, want := watch(t, dir, Options{})
	want(dir + "!")
	write(t, filepath.Join(dir, "a.yaml"), "1")
	want("a.yaml=1")
}

// TestLosses takes files away, or parts of them, and gives them back as editors do.
func TestLosses(t *testing.T) {
	const grace = 300 * time.Millisecond
	for _, c := range []struct {
		name string
		// lose loses something of a.yaml, and find finds it again, there or elsewhere.
		lose, find func(path string) error
		want       string // after find, at once
		lost       string // after lose, when the time is over
	}{
		{"emptied", func(p string) error { return os.WriteFile(p, nil, 0o644) }, func(p string) error { return os.WriteFile(p, []byte("3"), 0o644) }, "a.yaml=3 b.yaml=b", "a.yaml="},
		{"blank", func(p string) error { return os.WriteFile(p, []byte("\n\n"), 0o644) }, func(p string) error { return os.WriteFile(p, []byte("3"), 0o644) }, "a.yaml=3 b.yaml=b", "a.yaml=\n\n"},
		{"Vim's save", func(p string) error { return os.Rename(p, p+"~") }, func(p string) error { return os.WriteFile(p, []byte("3"), 0o644) }, "a.yaml=3 b.yaml=b", ""},
		{"cut short", func(p string) error { return os.Truncate(p, 2) }, func(p string) error { return os.WriteFile(p, []byte("1\n3"), 0o644) }, "a.yaml=1\n3 b.yaml=b", "a.yaml=1\n"},
		{"renamed", func(string) error { return nil }, func(p string) error { return os.Rename(p, strings.Replace(p, "a.yaml", "c.yaml", 1)) }, "b.yaml=b c.yaml=1\n2\n", ""},
		{"split", func(string) error { return nil }, func(p string) error {
			return errors.Join(os.WriteFile(strings.Replace(p, "a.yaml", "c.yaml", 1), []byte("# two\n2\n"), 0o644), os.Truncate(p, 2))
		}, "a.yaml=1\n b.yaml=b c.yaml=# two\n2\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := func(grace time.Duration) (path string, want func(string), only func(...string)) {
				dir := t.TempDir()
				path = filepath.Join(dir, "a.yaml")
				write(t, path, "1\n2\n")
				w, want := watch(t, dir, Options{HoldOff: time.Millisecond, MaxDelay: 2 * time.Millisecond, Grace: grace})
				want("a.yaml=1\n2\n")
				return path, want, func(list ...string) {
					t.Helper()
					for _, what := range list {
						files, err := w.Next(t.Context())
						must(t, err)
						if got := text(dir, files); got != what {
							t.Errorf("got %q, want %q", got, what)
						}
					}
				}
			}
			path, want, only := begin(time.Hour)
			must(t, c.lose(path))
			write(t, filepath.Join(filepath.Dir(path), "b.yaml"), "b") // tells that the loss was seen
			only("a.yaml=1\n2\n b.yaml=b")
			must(t, c.find(path))
			want(c.want)
			if strings.Contains(c.want, "c.yaml") {
				return // it was moved, which is no loss
			}

			// What stays lost is meant.
			path, _, only = begin(grace)
			begun := time.Now()
			must(t, c.lose(path))
			only(c.lost)
			if took := time.Since(begun); took < grace-50*time.Millisecond {
				t.Errorf("got the loss after %s, want it not before %s", took, grace)
			}
		})
	}
}

func TestExtra(t *testing.T) {
	dir, certs := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "1")
	key := filepath.Join(certs, "tls.key")
	write(t, key, "k1")
	w, want := watch(t, dir, Options{})
	want("a.yaml=1")
	write(t, key, "k0") // after it was read for the first time, and before it is watched
	w.SetExtra([]string{key, filepath.Join(certs, "later", "tls.crt")})
	want("a.yaml=1")
	write(t, filepath.Join(dir, "b.yaml"), "2")
	want("a.yaml=1 b.yaml=2")
	for _, change := range []func(){
		func() { write(t, key, "k2") },
		func() { write(t, filepath.Join(certs, "later", "tls.crt"), "c") },
		func() { must(t, os.Remove(key)) },
	} {
		change()
		want("a.yaml=1 b.yaml=2")
	}
}

// TestLatestWins takes nothing for a while: what comes then is the latest, and once.
func TestLatestWins(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "0")
	w, want := watch(t, dir, Options{HoldOff: time.Millisecond})
	for i := 1; i <= 20; i++ {
		write(t, filepath.Join(dir, "a.yaml"), fmt.Sprint(i))
	}
	want("a.yaml=20")
	select {
	case files := <-w.Updates():
		t.Errorf("got %s a second time, want nothing", text(dir, files))
	default:
	}
}

// TestFolderGoes deletes many files slowly, as seen by a watcher in a hurry: they go at once.
func TestFolderGoes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keep.yaml"), "k")
	for i := range 300 {
		write(t, filepath.Join(dir, fmt.Sprintf("x/%03d.yaml", i)), "x")
	}
	w, _ := watch(t, dir, Options{HoldOff: 20 * time.Millisecond, MaxDelay: time.Millisecond})
	if files, err := w.Next(t.Context()); err != nil || len(files) != 301 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	go os.RemoveAll(filepath.Join(dir, "x"))
	files, err := w.Next(t.Context())
	must(t, err)
	if got := text(dir, files); got != "keep.yaml=k" {
		t.Errorf("got %d files, want one", len(files))
	}
}

// TestMaxDelay writes without a pause: it is read all the same.
func TestMaxDelay(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "0")
	_, want := watch(t, dir, Options{HoldOff: time.Hour, MaxDelay: 20 * time.Millisecond})
	want("a.yaml=0")
	write(t, filepath.Join(dir, "a.yaml"), "1")
	want("a.yaml=1")
}

func TestStdinNeverEnds(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	watcher := Watch(ctx, Options{Paths: []string{"-"}, Stdin: r})
	cancel()
	<-watcher.Done()
	w.Close()
}
