package status

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// streams play the xDS server.
type streams map[server.StreamID]*server.View

func (s streams) Inspect(_ context.Context, id server.StreamID, troubled bool) (*server.View, error) {
	if s[id] == nil {
		return nil, server.ErrGone
	}
	return s[id], nil
}

func from(fleet, typeURL, name string) []provenance.Origin {
	return []provenance.Origin{{Document: "Service/" + name, Position: definition.Position{File: fleet + ".yaml", Line: 7, Column: 3}}}
}

// TestResources: a proxy is known by its latest stream, which is asked; of one that went nobody knows.
func TestResources(t *testing.T) {
	asked := streams{2: {Resources: []server.ResourceView{{
		TypeURL: resource.ClusterType, Name: "api", State: server.Refused, Wanted: "2", Sent: "2", Accepted: "1", Error: "no\xff\n", Doubts: 3, Since: time.Unix(1, 0),
	}}}}
	tracker := New(Options{})
	tracker.Ask(asked, from)
	if _, err := tracker.Resources(t.Context(), "edge", "a", true); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	connect(tracker, 1, "a")
	connect(tracker, 2, "a")
	got, err := tracker.Resources(t.Context(), "edge", "a", true)
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v, want one", got, err)
	}
	r := got[0]
	if r.Short != "CDS" || r.Name != "api" || r.State != Error || r.Error != "no\uFFFD" || r.Doubts != 3 || r.Wanted != "2" || r.Accepted != "1" ||
		!r.Since.Equal(time.Unix(1, 0)) || len(r.Origins) != 1 || r.Origins[0].String() != "edge.yaml:7: Service/api" {
		t.Errorf("got %+v", r)
	}
	tracker.StreamClosed(1)
	delete(asked, 2) // it is about to be told
	if got, err := tracker.Resources(t.Context(), "edge", "a", false); err != nil || got != nil {
		t.Errorf("while it goes: got %v, %v, want nothing", got, err)
	}
	tracker.StreamClosed(2)
	if got, err := tracker.Resources(t.Context(), "edge", "a", false); err != nil || got != nil {
		t.Errorf("gone: got %v, %v, want nothing", got, err)
	}
}

// TestRefusalNames: the log and the status name the resources and documents that a refusal may be about, once.
func TestRefusalNames(t *testing.T) {
	var log bytes.Buffer
	tracker := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	tracker.Ask(nil, from)
	tracker.Publish(published("1", 4))
	connect(tracker, 1, "a")
	tracker.Sent(1, resource.ClusterType, "1")
	tracker.Refused(1, resource.ClusterType, []string{"b", "a", "api", "c"})
	tracker.Nacked(1, resource.ClusterType, "1", "cluster api-2: x, cluster api: bad")
	for range 3 { // retries, which the server does not make
		tracker.Refused(1, resource.ClusterType, nil)
		tracker.Nacked(1, resource.ClusterType, "1", "cluster api-2: x, cluster api: bad")
	}
	got := cds(tracker)
	if len(got.About) != 1 || got.About[0].Name != "api" || got.More != 0 || got.Resources != 4 {
		t.Errorf("got %+v, want the one that is named, of 4", got)
	}
	if n := strings.Count(log.String(), "proxy refused"); n != 1 || !strings.Contains(log.String(), `resources=api from="edge.yaml:7: Service/api"`) {
		t.Errorf("got %d lines of it, want one that names it:\n%s", n, &log)
	}
	tracker.Refused(1, resource.ClusterType, []string{"e", "d", "c", "b", "a"})
	tracker.Nacked(1, resource.ClusterType, "1", "I do not like it")
	if got := cds(tracker); len(got.About) != 3 || got.About[0].Name != "a" || got.More != 2 || !strings.Contains(log.String(), `resources="a, b, c" more=2`) {
		t.Errorf("got %+v, want three and two more\n%s", got, &log)
	}
	tracker.Acked(1, resource.ClusterType, "2")
	if got := cds(tracker); len(got.About) != 0 || got.More != 0 {
		t.Errorf("accepted: got %+v", got)
	}
	tracker.Refused(9, resource.ClusterType, []string{"a"}) // nobody
}

func TestMentions(t *testing.T) {
	for _, test := range []struct {
		text, name string
		want       bool
	}{
		{"api", "api", true},
		{`cluster "api": bad`, "api", true},
		{"api-2 is bad", "api", false},
		{"my-api is bad", "api", false},
		{"api-2 is bad, api too", "api", true},
		{"web/http: x", "http", false},
		{"listener 127.0.0.1:80: cannot", "127.0.0.1:80", true},
		{"listener 127.0.0.1:8080: cannot", "127.0.0.1:80", false},
		{"anything", "", false},
	} {
		if got := mentions(test.text, test.name); got != test.want {
			t.Errorf("%q, %q: got %v", test.text, test.name, got)
		}
	}
	if few, more := about([]string{"b", "a"}, "a b"); !slices.Equal(few, []string{"a", "b"}) || more != 0 {
		t.Errorf("got %v, %d", few, more)
	}
}

// TestAge: only what was published while the stream was there, and is the newest, has an age.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const url = resource.ClusterType
		tracker := New(Options{})
		want := func(what, version string, age time.Duration, ok bool) {
			t.Helper()
			if got, known := tracker.Age(1, url, version); got != age || known != ok {
				t.Errorf("%s: got %v, %v, want %v, %v", what, got, known, age, ok)
			}
		}
		tracker.Publish(published("1", 1))
		time.Sleep(time.Second)
		want("nobody", "1", 0, false)
		connect(tracker, 1, "a")
		want("it was there before", "1", 0, false)
		time.Sleep(time.Second)
		changed := tracker.Changed()
		tracker.Publish(published("2", 1))
		<-changed
		time.Sleep(time.Second)
		tracker.Publish(published("2", 1)) // another type's change
		time.Sleep(time.Second)
		want("a change", "2", 2*time.Second, true)
		want("an older one", "1", 0, false)
	})
}
