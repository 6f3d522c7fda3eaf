package revision

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// world is a control plane's build, without proxies.
type world struct {
	t     *testing.T
	dir   string
	store *store.Store
	*History
	parse store.Files
	files []source.File
	// held is what proxies refuse, by name of the Service.
	held map[string]store.Held
	// result is of the last build.
	result *store.Result
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.restart()
	t.Cleanup(func() { w.store.Close() })
	return w
}

func (w *world) restart() {
	w.t.Helper()
	if w.store != nil {
		w.store.Close()
	}
	var err error
	if w.store, err = store.Open(store.Options{Dir: w.dir}); err != nil {
		w.t.Fatal(err)
	}
	w.History = New(Options{Store: w.store, Now: func() time.Time { return time.Unix(1e9, 0) }})
}

// service is a document; an empty text stands for none.
func service(name, address string) string {
	return fmt.Sprintf("---\n{kind: Service, name: %s, endpoints: [%s]}\n", name, address)
}

// save writes a.yaml.
func (w *world) save(text string) {
	w.files = []source.File{{Path: "a.yaml", Data: []byte(text)}}
	w.build()
}

func (w *world) build() {
	w.t.Helper()
	set := w.Apply(w.parse.Set(w.files))
	set.Held = map[definition.Ref]store.Held{}
	for name, h := range w.held {
		set.Held[definition.Ref{Kind: "Service", Name: name}] = h
	}
	w.result = w.store.Update(set)
	w.Record()
	w.Keep()
	if err := w.store.Save(); err != nil {
		w.t.Fatal(err)
	}
	w.Saved()
}

// do undoes, with the build that it asks for.
func (w *world) do(u *Undone, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.Do(w.t.Context(), u, "me")
		done <- err
	}()
	<-w.Changed()
	w.build()
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// served is what is accepted, in words.
func (w *world) served() string {
	var list []string
	for ref, d := range w.store.Accepted() {
		address := string(d.Text)
		address = address[strings.Index(address, "[")+1 : strings.Index(address, "]")]
		list = append(list, ref.Name+"="+address)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (w *world) want(served string, held ...string) {
	w.t.Helper()
	if got := w.served(); got != served {
		w.t.Errorf("got %q, want %q", got, served)
	}
	var problems []string
	for _, p := range w.result.Problems {
		if p.Code == "SL0607" {
			problems = append(problems, p.Ref.Name)
		}
	}
	slices.Sort(problems)
	if !slices.Equal(problems, held) {
		w.t.Errorf("got undone %q, want %q", problems, held)
	}
}

// log is the history in words, the oldest first.
func (w *world) log() string {
	answer, err := Answers{Of: w.History}.History(&adminv1.HistoryRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, r := range slices.Backward(answer.GetRevisions()) {
		text := fmt.Sprintf("%d %s", r.GetNumber(), r.GetCause())
		if r.GetLike() > 0 {
			text += fmt.Sprintf("=%d", r.GetLike())
		}
		for _, c := range r.GetChanges() {
			text += " " + c.GetChange() + " " + strings.TrimPrefix(c.GetDocument(), "Service/")
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func code(err error) codes.Code { return grpcstatus.Code(err) }

func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.save("")
	if _, err := w.Prospect(0); code(err) != codes.FailedPrecondition {
		t.Errorf("undo of nothing: got %v", err)
	}
	w.save(service("a", "127.0.0.1:1"))
	w.save("# a comment\n" + service("a", "127.0.0.1:1"))
	w.save(service("a", "127.0.0.1:2") + service("b", "127.0.0.1:1"))
	w.save(service("a", "127.0.0.1:2, colour: red") + service("b", "127.0.0.1:1")) // is not served
	w.save(service("a", "127.0.0.1:2"))
	want := "1 start added a, 2 files changed a added b, 3 files removed b"
	if got := w.log(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.restart()
	w.save(service("a", "127.0.0.1:3")) // meanwhile
	w.restart()
	w.save(service("a", "127.0.0.1:3"))
	if got := w.log(); got != want+", 4 start changed a" {
		t.Errorf("after restarts: got %q", got)
	}
	answer, err := Answers{Of: w.History}.History(&adminv1.HistoryRequest{Revision: 2})
	if err != nil || len(answer.GetRevisions()) != 1 {
		t.Fatalf("revision 2: got %v, %v", answer, err)
	}
	changes := answer.GetRevisions()[0].GetChanges()
	if got := changes[0].GetDiff(); got != "@@\n-{kind: Service, name: a, endpoints: [127.0.0.1:1]}\n+{kind: Service, name: a, endpoints: [127.0.0.1:2]}" {
		t.Errorf("got the difference %q", got)
	}
	if got := changes[1].GetDiff(); got != "+{kind: Service, name: b, endpoints: [127.0.0.1:1]}" {
		t.Errorf("got the difference %q", got)
	}
	if _, err := (Answers{Of: w.History}).History(&adminv1.HistoryRequest{Revision: 9}); code(err) != codes.NotFound {
		t.Errorf("revision 9: got %v", err)
	}
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	for i := range keep + 5 {
		w.save(service("a", fmt.Sprintf("127.0.0.1:%d", i+1)))
	}
	if n := len(w.revisions); n != keep || w.revisions[0].Number != 6 || w.revisions[0].Changes[0].Before.Text != "" {
		t.Errorf("got %d revisions from %d, with the text %q", n, w.revisions[0].Number, w.revisions[0].Changes[0].Before.Text)
	}
	w.do(w.Prospect(6))
	w.want("a=127.0.0.1:6", "a")
	if _, err := w.Prospect(5); code(err) != codes.NotFound {
		t.Errorf("beyond what is kept: got %v", err)
	}
	// Texts are bounded too.
	big := strings.Repeat("#", 900<<10)
	for i := range keep {
		w.save("---\n" + big + "\nkind: Service\nname: a\nendpoints: [127.0.0.1:" + fmt.Sprint(100+i) + "]\n---\n" + big + "\nkind: Service\nname: b\nendpoints: [127.0.0.1:" + fmt.Sprint(100+i) + "]\n")
	}
	info, err := os.Stat(filepath.Join(w.dir, "revisions.jsonl"))
	if err != nil || info.Size() > maxTexts+4<<20 || info.Mode().Perm() != 0o600 || len(w.revisions) < 5 || len(w.revisions) > 12 {
		t.Errorf("got %d revisions in %d bytes, %v, %v", len(w.revisions), info.Size(), info.Mode(), err)
	}
}

// TestManyAtFirst: of the first revision of a large folder not all is told, and what comes after can be undone.
func TestManyAtFirst(t *testing.T) {
	w := newWorld(t)
	many := ""
	for i := range maxOldest + 5 {
		many += service(fmt.Sprintf("s%03d", i), "127.0.0.1:1")
	}
	w.save(many)
	w.restart()
	w.save(strings.ReplaceAll(many, "127.0.0.1:1", "127.0.0.1:2"))
	if first := w.revisions[0]; len(first.Changes) != maxOldest || first.More != 5 || len(w.revisions[1].Changes) != maxOldest+5 {
		t.Errorf("got %d and %d more, then %d", len(first.Changes), first.More, len(w.revisions[1].Changes))
	}
	before := w.served()
	w.do(w.Prospect(1))
	if got := w.served(); strings.Contains(got, ":2") || len(got) != len(before) {
		t.Errorf("got %q", got)
	}
}

func TestUndo(t *testing.T) {
	one, two, three := service("a", "127.0.0.1:1"), service("a", "127.0.0.1:2"), service("a", "127.0.0.1:3")
	b := service("b", "127.0.0.1:1")
	// begin has the revisions 1 and 2, of which 2 is undone.
	begin := func(t *testing.T) *world {
		w := newWorld(t)
		w.save(one + b)
		w.save(two + b)
		w.want("a=127.0.0.1:2 b=127.0.0.1:1")
		w.do(w.Prospect(0))
		w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
		return w
	}
	for name, test := range map[string]func(t *testing.T, w *world){
		"it holds while others change": func(t *testing.T, w *world) {
			w.save("# a comment\n" + two + service("b", "127.0.0.1:9"))
			w.want("a=127.0.0.1:1 b=127.0.0.1:9", "a")
			if got := w.log(); got != "1 start added a added b, 2 files changed a, 3 undo=1 changed a, 4 files changed b" {
				t.Errorf("got %q", got)
			}
		},
		"it ends when the document changes": func(t *testing.T, w *world) {
			w.save(three + b)
			w.want("a=127.0.0.1:3 b=127.0.0.1:1")
			w.save(two + b) // it is forgotten
			w.want("a=127.0.0.1:2 b=127.0.0.1:1")
		},
		"it ends when the files are put right": func(t *testing.T, w *world) {
			w.save(one + b)
			w.want("a=127.0.0.1:1 b=127.0.0.1:1")
			if got := len(w.revisions); got != 3 {
				t.Errorf("got %d revisions, want 3: nothing else is served", got)
			}
		},
		"it ends when the document is deleted": func(t *testing.T, w *world) {
			w.save(b)
			w.want("b=127.0.0.1:1")
		},
		"it holds while the document cannot be read": func(t *testing.T, w *world) {
			w.save(strings.Replace(two, "}", ", colour: red}", 1) + b)
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
			w.save(two + b)
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
			w.files[0].Err = os.ErrPermission
			w.build()
			w.want("a=127.0.0.1:1 b=127.0.0.1:1") // nothing can be read, and nothing is said of documents
			w.save(two + b)
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
		},
		"it is asked for while the document cannot be read": func(t *testing.T, w *world) {
			broken := strings.Replace(three, "}", ", colour: red}", 1)
			w.save(three + b)
			w.save(broken + b)
			w.do(w.Prospect(0))
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
			w.save(three + b) // which was undone
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
			w.save(two + b)
			w.want("a=127.0.0.1:2 b=127.0.0.1:1")
		},
		"it holds in another file": func(t *testing.T, w *world) {
			w.files = []source.File{{Path: "a.yaml", Data: []byte(b)}, {Path: "b.yaml", Data: []byte(two)}}
			w.build()
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
		},
		"it holds after a restart": func(t *testing.T, w *world) {
			w.restart()
			w.build()
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
			if got := len(w.revisions); got != 3 {
				t.Errorf("got %d revisions, want 3", got)
			}
		},
		"it is lifted": func(t *testing.T, w *world) {
			w.do(w.LiftProspect())
			w.want("a=127.0.0.1:2 b=127.0.0.1:1")
			if got := w.log(); !strings.HasSuffix(got, "4 lift changed a") {
				t.Errorf("got %q", got)
			}
			if _, err := w.LiftProspect(); code(err) != codes.FailedPrecondition {
				t.Errorf("lifted again: got %v", err)
			}
		},
		"it is undone": func(t *testing.T, w *world) {
			w.do(w.Prospect(2))
			w.want("a=127.0.0.1:2 b=127.0.0.1:1") // the files say so
		},
		"twice goes back twice": func(t *testing.T, w *world) {
			w.save(two + service("b", "127.0.0.1:2"))
			w.save(two + service("b", "127.0.0.1:3"))
			w.do(w.Prospect(0))
			w.want("a=127.0.0.1:1 b=127.0.0.1:2", "a", "b")
			w.do(w.Prospect(0))
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a", "b")
			if _, err := w.Prospect(4); err != nil {
				t.Error(err)
			}
		},
		"all gone at once is an accident still": func(t *testing.T, w *world) {
			w.save("")
			w.want("a=127.0.0.1:1 b=127.0.0.1:1")
			w.save(two + b)
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a")
		},
		"as it is now": func(t *testing.T, w *world) {
			for _, n := range []uint64{1, 3} {
				if _, err := w.Prospect(n); code(err) != codes.FailedPrecondition {
					t.Errorf("%d: got %v", n, err)
				}
			}
			if _, err := w.Prospect(0); code(err) != codes.FailedPrecondition {
				t.Errorf("before the first: got %v", err)
			}
		},
		"something newer is not undone unseen": func(t *testing.T, w *world) {
			w.save(three + b)
			u, err := w.Prospect(0)
			if err != nil {
				t.Fatal(err)
			}
			w.save(three + service("b", "127.0.0.1:7"))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // nobody builds
			defer cancel()
			if _, err := w.Do(ctx, u, "me"); code(err) != codes.Aborted {
				t.Errorf("got %v", err)
			}
			w.want("a=127.0.0.1:3 b=127.0.0.1:7")
		},
		"who asked has gone": func(t *testing.T, w *world) {
			u, err := w.LiftProspect()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := w.Do(ctx, u, "me"); code(err) != codes.Canceled {
				t.Errorf("got %v", err)
			}
			w.build()
			w.want("a=127.0.0.1:2 b=127.0.0.1:1") // it is done all the same
		},
		"other files": func(t *testing.T, w *world) {
			var parse store.Files
			set := w.Preview(parse.Set([]source.File{{Path: "x.yaml", Data: []byte(three)}}))
			if len(set.Documents) != 1 || !strings.Contains(string(set.Documents[0].Text), ":3") {
				t.Errorf("got %v", set.Documents)
			}
			w.build()
			w.want("a=127.0.0.1:1 b=127.0.0.1:1", "a") // it was but a question
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, begin(t)) })
	}
}

// TestUndoComeAndGo undoes documents that were added, and that were deleted.
func TestUndoComeAndGo(t *testing.T) {
	w := newWorld(t)
	a, b, c := service("a", "127.0.0.1:1"), service("b", "127.0.0.1:1"), service("c", "127.0.0.1:1")
	w.save(a + b)
	w.save(a + c)
	w.do(w.Prospect(0))
	w.want("a=127.0.0.1:1 b=127.0.0.1:1", "b", "c")
	w.save(service("a", "127.0.0.1:2") + c)
	w.want("a=127.0.0.1:2 b=127.0.0.1:1", "b", "c")
	w.save(a + service("c", "127.0.0.1:2"))
	w.want("a=127.0.0.1:1 b=127.0.0.1:1 c=127.0.0.1:2", "b")
	w.save(a + service("b", "127.0.0.1:5"))
	w.want("a=127.0.0.1:1 b=127.0.0.1:5")
	w.save(a)
	w.want("a=127.0.0.1:1") // the undo is over, and a deletion is one
}

// TestDamage: what is not understood is left out.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	w.save(service("a", "127.0.0.1:1"))
	w.save(service("a", "127.0.0.1:2"))
	w.do(w.Prospect(0))
	path := filepath.Join(w.dir, "revisions.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]string{
		"cut short":       string(text[:len(text)/2]),
		"a byte is other": strings.Replace(string(text), "127.0.0.1:1", "127.0.0.1:7", 1),
		"nothing":         "",
		"no JSON":         "abc\n",
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			w.restart()
			w.build()
			if got := w.served(); got != "a=127.0.0.1:1" && got != "a=127.0.0.1:2" {
				t.Errorf("got %q", got)
			}
		})
	}
}
