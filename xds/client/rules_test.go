package client_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/client"
)

func TestFirstRequests(t *testing.T) {
	both(t, func(t *testing.T, r *rig, sotw bool) {
		s := r.transport.accept()
		expect(t, "sent before anything is wanted", s.sent(), "")
		r.client.Subscribe(rds, []string{"r2", "r1"})
		r.client.SubscribeAll(lds)
		r.client.SubscribeAll(cds)
		want := "CDS node=p1\nLDS\nRDS +r1 +r2"
		if sotw {
			want = "CDS node=p1 [] v=\"\"\nLDS [] v=\"\"\nRDS [r1 r2] v=\"\""
		}
		// Several calls may become several requests; in order they are asked for on the next stream.
		s.sent()
		s.err <- errors.New("gone")
		expect(t, "sent first", r.transport.accept().sent(), want)
	})
}

func TestRule22OneAnswerEach(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		s.sent()
		r.receiver.setRefuse(map[string]error{"b": errors.New(`cluster "b": lb_policy: got MAGLEV`), "d": errors.New(`cluster "d": x`)})
		s.push(cds, "n1", "a@1", "b@1", "c@1", "d@1")
		expect(r.t, "a NACK names each", s.sent(), "CDS nack n1: cluster \"b\": lb_policy: got MAGLEV\ncluster \"d\": x")
		expect(r.t, "receiver", r.receiver.take(), "CDS a@1 b@1 c@1 d@1")
		r.receiver.setRefuse(nil)
		s.push(cds, "n2", "b@2")
		expect(r.t, "then an ACK", s.sent(), "CDS ack n2")
		r.receiver.setRefuse(map[string]error{"a": errors.New("bad")})
		s.push(cds, "n3", "a@2", "-c")
		expect(r.t, "and a NACK", s.sent(), "CDS nack n3: bad")
		s.err <- errors.New("gone")
		// a keeps the version that was accepted; d never had one, c is gone.
		expect(r.t, "after a reconnect", r.transport.accept().sent(), "CDS node=p1 have a@1 have b@2")
	})
}

func TestRule22StateOfTheWorld(t *testing.T) {
	run(t, true, func(r *rig) {
		r.client.SubscribeAll(cds)
		r.client.Subscribe(eds, []string{"a"})
		s := r.transport.accept()
		s.sent()
		s.state(cds, "1", "a", "b")
		expect(r.t, "ACK", s.sent(), `CDS [] v="1" nonce=1`)
		r.receiver.setRefuse(map[string]error{"b": errors.New("bad b"), "c": errors.New("bad c")})
		s.state(cds, "2", "b", "c")
		expect(r.t, "NACK with the accepted version", s.sent(), "CDS [] v=\"1\" nonce=2 nack: bad b\nbad c")
		expect(r.t, "absence deletes; the refused is present", r.receiver.take(), "CDS a@1 b@1\nCDS b@2 c@2 -a")
		r.receiver.setRefuse(nil)
		s.state(cds, "3")
		expect(r.t, "empty deletes all, what was never accepted too", r.receiver.take(), "CDS -b -c")
		s.sent()
		s.state(eds, "1", "a")
		expect(r.t, "ACK with names", s.sent(), `EDS [a] v="1" nonce=1`)
		s.state(eds, "2")
		expect(r.t, "absence deletes nothing", r.receiver.take(), "EDS a@1")
	})
}

func TestProtocolErrors(t *testing.T) {
	odd := res(cds, "x@1")
	odd.Resource = body(cds, "y")
	wrongType := res(cds, "w@1")
	wrongType.Resource = body(eds, "w")
	for name, tt := range map[string]struct {
		resources []*discoverypb.Resource
		refused   string
		told      string
	}{
		"name differs": {[]*discoverypb.Resource{odd, res(cds, "a@1")}, `resource "x": got a resource that names itself "y"`, "CDS a@1"},
		"wrong type":   {[]*discoverypb.Resource{wrongType}, `resource "w": got type "` + eds + `", want ` + cds, "CDS"},
		"twice":        {[]*discoverypb.Resource{res(cds, "a@1"), res(cds, "b@1"), res(cds, "a@2")}, `resource "a": stands twice in one response`, "CDS b@1"},
		"no name":      {[]*discoverypb.Resource{{Resource: body(cds, "")}}, "resource #0: got no name", "CDS"},
		"nothing":      {[]*discoverypb.Resource{{}}, "resource #0: got neither a name nor a resource", "CDS"},
		"no body":      {[]*discoverypb.Resource{{Name: "a"}}, `resource "a": got a heartbeat for what was never accepted`, "CDS"},
		"not a message": {[]*discoverypb.Resource{{Name: "a", Resource: &anypb.Any{TypeUrl: cds, Value: []byte{0xff}}}},
			`resource "a": want a serialized resource`, "CDS"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, false, func(r *rig) {
				r.client.SubscribeAll(cds)
				s := r.transport.accept()
				s.sent()
				s.toDelta <- &discoverypb.DeltaDiscoveryResponse{TypeUrl: cds, Nonce: "n", Resources: tt.resources}
				expect(r.t, "sent", s.sent(), "CDS nack n: "+tt.refused)
				expect(r.t, "told", r.receiver.take(), tt.told)
			})
		})
	}
	t.Run("type not asked for", func(t *testing.T) {
		both(t, func(t *testing.T, r *rig, sotw bool) {
			s := r.transport.accept()
			if sotw {
				s.state("odd", "1")
				expect(t, "sent", s.sent(), `odd node=p1 [] v="" nonce=1 nack: type odd: not asked for`)
			} else {
				s.push("odd", "1")
				expect(t, "sent", s.sent(), "odd node=p1 nack 1: type odd: not asked for")
			}
		})
	})
	t.Run("a nameless resource deletes nothing", func(t *testing.T) {
		run(t, true, func(r *rig) {
			r.client.SubscribeAll(cds)
			s := r.transport.accept()
			s.state(cds, "1", "a")
			r.receiver.take()
			s.state(cds, "2", "")
			expect(r.t, "told", r.receiver.take(), "")
		})
	})
}

func TestRule23Reconnect(t *testing.T) {
	both(t, func(t *testing.T, r *rig, sotw bool) {
		r.client.SubscribeAll(cds)
		r.client.Subscribe(eds, []string{"a", "b"})
		s := r.transport.accept()
		s.sent()
		if sotw {
			s.state(cds, "7", "a", "b")
			s.state(eds, "8", "a")
		} else {
			s.push(cds, "n", "a@1", "b@2")
			s.push(eds, "n", "a@3")
		}
		r.receiver.take()
		s.err <- errors.New("gone")
		r.client.Subscribe(eds, []string{"a", "c"}) // while there is no stream
		want := "CDS node=p1 have a@1 have b@2\nEDS +a +c have a@3"
		if sotw {
			want = "CDS node=p1 [] v=\"7\"\nEDS [a c] v=\"8\""
		}
		next := r.transport.accept()
		expect(t, "sent", next.sent(), want)
		expect(t, "nothing is told of a reconnect", r.receiver.take(), "")
		if !r.client.Stats().Connected {
			t.Error("Stats: got not connected")
		}
	})
}

func TestRule23Backoff(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		r.transport.set(errors.New("away"), false)
		s.err <- errors.New("gone")
		time.Sleep(10 * time.Minute)
		attempts, _ := r.transport.counts()
		var longest, sum time.Duration
		for i := 2; i < len(attempts); i++ {
			pause := attempts[i].Sub(attempts[i-1])
			longest, sum = max(longest, pause), sum+pause
		}
		if longest > 1500*time.Millisecond+time.Nanosecond {
			r.t.Errorf("longest pause: got %v, want at most 1.5s", longest)
		}
		// Full jitter: half the limit on average.
		if mean := sum / time.Duration(len(attempts)-2); mean < 600*time.Millisecond || mean > 900*time.Millisecond {
			r.t.Errorf("mean pause: got %v, want about 750ms", mean)
		}
		r.transport.set(nil, false)
		back := time.Now()
		r.transport.accept()
		if waited := time.Since(back); waited > 1500*time.Millisecond {
			r.t.Errorf("found again after %v, want at most 1.5s", waited)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		s.push(cds, "n", "!a@1~3s")
		r.receiver.take()
		r.transport.set(nil, true)
		s.err <- errors.New("gone")
		time.Sleep(4 * time.Second)
		// The TTL runs out while a connection is being made.
		expect(r.t, "told", r.receiver.take(), "CDS -a expired")
		time.Sleep(time.Minute)
		attempts, _ := r.transport.counts()
		if n := len(attempts); n < 8 {
			r.t.Errorf("got %d attempts in a minute, want each to end after 5s", n)
		}
	})
}

func TestRule24Missing(t *testing.T) {
	both(t, func(t *testing.T, r *rig, sotw bool) {
		r.client.SubscribeAll(cds)
		r.client.Subscribe(eds, []string{"a", "b"})
		s := r.transport.accept()
		time.Sleep(10 * time.Second)
		if sotw {
			s.state(eds, "1", "a")
		} else {
			s.push(eds, "1", "a@1")
		}
		expect(t, "before", r.receiver.take(), "EDS a@1")
		time.Sleep(6 * time.Second)
		expect(t, "after 15s", r.receiver.take(), "CDS missing *\nEDS missing b")
		time.Sleep(time.Hour)
		expect(t, "once", r.receiver.take(), "")
		if sotw {
			s.state(eds, "2", "b")
			expect(t, "it may still come", r.receiver.take(), "EDS b@2")
		} else {
			s.push(eds, "2", "b@2")
			expect(t, "it may still come", r.receiver.take(), "EDS b@2")
		}
	})
}

func TestRule24NotWhileDisconnected(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.Subscribe(eds, []string{"a"})
		s := r.transport.accept()
		time.Sleep(14 * time.Second)
		r.transport.set(errors.New("away"), false)
		s.err <- errors.New("gone")
		time.Sleep(time.Minute)
		expect(r.t, "told", r.receiver.take(), "")
		r.transport.set(nil, false)
		r.transport.accept()
		time.Sleep(15 * time.Second)
		expect(r.t, "told", r.receiver.take(), "EDS missing a")
	})
}

func TestRule24KnownNotToExist(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.Subscribe(eds, []string{"a"})
		s := r.transport.accept()
		s.push(eds, "1", "-a", "-stranger")
		expect(r.t, "told at once", r.receiver.take(), "EDS -a")
		time.Sleep(time.Minute)
		expect(r.t, "and no more", r.receiver.take(), "")
	})
}

func TestRule25TTL(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		s.sent()
		s.push(cds, "n1", "!a@1~10s", "!b@1~10s", "!c@1~10s", "d@1")
		r.receiver.take()
		time.Sleep(8 * time.Second)
		s.push(cds, "n2", "a@1~10s") // a heartbeat
		s.push(cds, "n3", "c@2")     // now without a TTL
		expect(r.t, "heartbeats are not told", r.receiver.take(), "CDS c@2")
		expect(r.t, "and are ACKed", s.sent(), "CDS ack n1\nCDS ack n2\nCDS ack n3")
		time.Sleep(4 * time.Second)
		expect(r.t, "expired", r.receiver.take(), "CDS -b expired")
		s.push(cds, "n4", "b@1~10s", "a@0~10s")
		expect(r.t, "wrong heartbeats", s.sent(), "CDS nack n4: resource \"a\": got a heartbeat of version \"0\", have \"1\"\n"+
			"resource \"b\": got a heartbeat for what was never accepted")
		time.Sleep(7 * time.Second)
		expect(r.t, "expired later", r.receiver.take(), "CDS -a expired")
		s.err <- errors.New("gone")
		expect(r.t, "what is left", r.transport.accept().sent(), "CDS node=p1 have c@2 have d@1")
	})
}

func TestRule25StateOfTheWorld(t *testing.T) {
	run(t, true, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		wrap := func(spec string) *anypb.Any {
			packed, err := anypb.New(res(cds, spec))
			if err != nil {
				panic(err)
			}
			return packed
		}
		s.toSotw <- &discoverypb.DiscoveryResponse{TypeUrl: cds, VersionInfo: "1", Nonce: "1", Resources: []*anypb.Any{wrap("!a~10s"), body(cds, "b")}}
		time.Sleep(8 * time.Second)
		// What needs no heartbeat is absent from it, and stays.
		s.toSotw <- &discoverypb.DiscoveryResponse{TypeUrl: cds, VersionInfo: "1", Nonce: "2", Resources: []*anypb.Any{wrap("a~10s")}}
		time.Sleep(8 * time.Second)
		expect(r.t, "told", r.receiver.take(), "CDS a@1 b@1")
		time.Sleep(3 * time.Second)
		expect(r.t, "told", r.receiver.take(), "CDS -a expired")
	})
}

func TestRule26EmptiedStillAcks(t *testing.T) {
	both(t, func(t *testing.T, r *rig, sotw bool) {
		r.client.Subscribe(eds, []string{"a"})
		s := r.transport.accept()
		s.sent()
		r.client.Subscribe(eds, nil)
		if sotw {
			expect(t, "unsubscribed", s.sent(), `EDS [] v=""`)
			s.state(eds, "1", "a")
			expect(t, "ACK", s.sent(), `EDS [] v="1" nonce=1`)
		} else {
			expect(t, "unsubscribed", s.sent(), "EDS -a")
			s.push(eds, "1", "a@1")
			expect(t, "ACK", s.sent(), "EDS ack 1")
		}
		expect(t, "what nobody wants is not told", r.receiver.take(), "")
		s.err <- errors.New("gone")
		expect(t, "and not asked for again", r.transport.accept().sent(), "")
	})
}

func TestRule26NoLeakPerReconnect(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		for range 200 {
			s := r.transport.accept()
			s.push(cds, "n", "a@1")
			s.err <- errors.New("gone")
		}
		synctest.Wait()
		// goleak and the bubble itself look for goroutines; here are the streams.
		if _, open := r.transport.counts(); open > 1 {
			r.t.Errorf("%d streams are open", open)
		}
	})
}

func TestSubscribedAgainIsAskedForAgain(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.Subscribe(eds, []string{"a", "b"})
		s := r.transport.accept()
		s.push(eds, "1", "a@1", "b@1")
		s.sent()
		// Given up and wanted again before the client looks: from within Update.
		r.receiver.mu.Lock()
		r.receiver.then = func(client.Update) {
			r.client.Subscribe(eds, []string{"b"})
			r.client.Subscribe(eds, []string{"a", "b"})
		}
		r.receiver.mu.Unlock()
		s.push(eds, "2", "b@2")
		expect(r.t, "sent", s.sent(), "EDS ack 2\nEDS +a")
		r.receiver.mu.Lock()
		r.receiver.then = nil
		r.receiver.mu.Unlock()
		s.err <- errors.New("gone")
		expect(r.t, "its version is forgotten", r.transport.accept().sent(), "EDS node=p1 +a +b have b@2")
	})
}

func TestNackTextIsBounded(t *testing.T) {
	run(t, false, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		s.sent()
		refuse := map[string]error{}
		var names []string
		for i := range 100 {
			name := "c" + string(rune('0'+i/10)) + string(rune('0'+i%10))
			names = append(names, name+"@1")
			refuse[name] = errors.New(name + ": " + strings.Repeat("x", 200) + "\xff")
		}
		r.receiver.setRefuse(refuse)
		s.push(cds, "n", names...)
		got := (<-s.delta).GetErrorDetail().GetMessage()
		if len(got) > 9<<10 || !strings.Contains(got, "more") || !strings.Contains(got, "c00: ") {
			r.t.Errorf("got %d bytes: %.100s … %s", len(got), got, got[len(got)-30:])
		}
	})
}
