package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// told are the lines of a view, but for the barriers of tests.
func told(t *testing.T, s *xdstest.Server, troubled bool) (lines []string, view *server.View) {
	t.Helper()
	view, err := s.Server().Inspect(t.Context(), 1, troubled)
	if err != nil {
		t.Fatal(err)
	}
	same := func(v, as string) string {
		switch v {
		case "":
			return "-"
		case as:
			return "="
		}
		return "old"
	}
	for _, r := range view.Resources {
		if strings.HasPrefix(r.Name, "barrier") {
			continue
		}
		line := fmt.Sprintf("%s %s %s", xdstest.Short(r.TypeURL), r.Name, r.State)
		if r.State != server.Synced || r.Sent != r.Wanted || r.Accepted != r.Wanted {
			line += fmt.Sprintf(" sent %s accepted %s", same(r.Sent, r.Wanted), same(r.Accepted, r.Wanted))
		}
		if r.Error != "" {
			line += fmt.Sprintf(" %q of %d", r.Error, r.Doubts)
		}
		if r.Since.IsZero() || time.Since(r.Since) > time.Minute {
			t.Errorf("%s: got since %v", line, r.Since)
		}
		lines = append(lines, line)
	}
	return lines, view
}

// TestView: what a client has of each resource, in every state, by the words of CSDS.
func TestView(t *testing.T) {
	for _, isDelta := range []bool{false, true} {
		t.Run(protocol(isDelta), func(t *testing.T) {
			var mu sync.Mutex
			var suspects [][]string
			x := xdstest.Start(t, func(o *server.Options) {
				o.Refusals = func(id server.StreamID, typeURL string, names []string) {
					mu.Lock()
					defer mu.Unlock()
					suspects = append(suspects, slices.Sorted(slices.Values(names)))
				}
			})
			want := func(what string, troubled bool, lines ...string) {
				t.Helper()
				if got, _ := told(t, x, troubled); !slices.Equal(got, lines) {
					t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
				}
			}
			x.Set(fleet, world()...)
			s := x.Stream(fleet, isDelta)
			s.Subscribe(cds)
			clusters := s.Expect("CDS a b")
			want("sent", true, "CDS a STALE sent = accepted -", "CDS b STALE sent = accepted -",
				"EDS a NOT_SENT sent - accepted -", "EDS b NOT_SENT sent - accepted -",
				"LDS l NOT_SENT sent - accepted -", "RDS r NOT_SENT sent - accepted -")
			s.Subscribe(eds, "a", "b")
			s.ExpectAck("EDS a b")
			s.Ack(clusters)
			s.Subscribe(lds)
			s.ExpectAck("LDS l")
			s.Subscribe(rds, "r")
			s.ExpectAck("RDS r")
			s.Silent(rds)
			want("all", false, "CDS a SYNCED", "CDS b SYNCED", "EDS a SYNCED", "EDS b SYNCED", "LDS l SYNCED", "RDS r SYNCED")
			want("nothing in trouble", true)
			_, view := told(t, x, false)
			if view.Node.ID != "test" || view.Node.Cluster != fleet {
				t.Errorf("got node %+v", view.Node)
			}

			// One response, two in doubt: both are told so, and the third is not.
			x.Set(fleet, world(xdstest.Cluster("b", 2e9), xdstest.Cluster("c", 1e9))...)
			s.Nack(s.Expect(pick(isDelta, "CDS a b c", "CDS b c")), "c is bad")
			s.ExpectAck("EDS b")
			s.Silent(rds)
			want("refused", true, `CDS b ERROR sent = accepted old "c is bad" of 2`, `CDS c ERROR sent = accepted - "c is bad" of 2`, "EDS c NOT_SENT sent - accepted -")

			// A change of what was in doubt with it is another chance, and a removal is stale until it is accepted.
			x.Set(fleet, world(xdstest.Cluster("b", 3e9))...)
			clusters = s.Expect(pick(isDelta, "CDS a b", "CDS b -c")) // it may have taken c
			want("mended, not answered yet", true, "CDS b STALE sent = accepted old", "CDS c STALE sent - accepted -")
			s.Ack(clusters)
			s.ExpectAck("EDS b")
			s.Silent(rds)
			want("settled again", true)
			less := without(world(xdstest.Routes("r", "a"), xdstest.Cluster("b", 3e9)), xdstest.Cluster("b", 0), xdstest.Endpoints("b"))
			x.Set(fleet, less...)
			routes := s.Expect("RDS r")
			lines, _ := told(t, x, true)
			if !slices.Contains(lines, "CDS b STALE sent old accepted old") || !slices.Contains(lines, "RDS r STALE sent = accepted old") {
				t.Errorf("a removal that waits: got %s", lines)
			}
			s.Ack(routes)
			s.ExpectAck(pick(isDelta, "CDS a", "CDS -b"))
			if isDelta {
				s.ExpectAck("EDS -b")
			}
			s.Silent(rds)
			want("gone", false, "CDS a SYNCED", "EDS a SYNCED", "LDS l SYNCED", "RDS r SYNCED")

			mu.Lock()
			if len(suspects) != 1 || !slices.Equal(suspects[0], []string{"b", "c"}) {
				t.Errorf("got refusals of %v, want one of b and c", suspects)
			}
			mu.Unlock()
			s.Close()
			x.Recorder.Wait(t, "closed")
			if _, err := x.Server().Inspect(t.Context(), 1, false); !errors.Is(err, server.ErrGone) {
				t.Errorf("after the end: got %v, want ErrGone", err)
			}
		})
	}
}
