package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestStrangerStreams: who shows no certificate gets no stream of a proxy, and is cut off when he goes on asking.
func TestStrangerStreams(t *testing.T) {
	methods["/grpc.health.v1.Health/Watch"] = byNode
	t.Cleanup(func() { delete(methods, "/grpc.health.v1.Health/Watch") }) // after the server's end
	s := startTLS(t, &Guard{Mutual: true})
	client := s.client()
	watch := func() error {
		stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	for i := range maxStrangerCalls {
		if err := watch(); status.Code(err) != codes.Unauthenticated {
			t.Fatalf("call %d: got %v, want Unauthenticated", i, err)
		}
	}
	if err := watch(); status.Code(err) != codes.Unavailable {
		t.Errorf("one call more: got %v, want the connection's end", err)
	}
}

// changing is an authority whose roots change.
type changing struct {
	fixed
	now atomic.Pointer[x509.CertPool]
}

func (c *changing) Roots() *x509.CertPool { return c.now.Load() }

// TestRootsChange: who connects after a change of the roots is judged by the new ones.
func TestRootsChange(t *testing.T) {
	a := &changing{}
	first, second := x509.NewCertPool(), x509.NewCertPool()
	a.now.Store(first)
	config := AuthorityConfig(a)
	for _, want := range []*x509.CertPool{first, second, second, first} {
		a.now.Store(want)
		got, err := config.GetConfigForClient(nil)
		if err != nil || got.ClientCAs != want || got.ClientAuth != tls.VerifyClientCertIfGiven || got.MinVersion != tls.VersionTLS12 || !got.SessionTicketsDisabled || got.GetCertificate == nil {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

// TestStrangersAreBounded: of too many connections the oldest end, of one address and of all.
func TestStrangersAreBounded(t *testing.T) {
	var s strangers
	cut := map[string]bool{}
	leave := map[string]func(){}
	come := func(name, ip string) {
		leave[name] = s.add(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1}, func() { cut[name] = true })
	}
	come("other", "192.0.2.9")
	for i := range maxStrangersFrom + 2 { // one machine, with addresses of one network
		come(fmt.Sprint(i), fmt.Sprintf("2001:db8::%x", i))
	}
	if len(cut) != 2 || !cut["0"] || !cut["1"] {
		t.Errorf("of one network: got %v cut off, want the two oldest", cut)
	}
	for i := range maxStrangers - s.all.Len() {
		come("many", fmt.Sprintf("198.51.%d.%d", i/256, i%256))
	}
	if cut["other"] {
		t.Error("the oldest of another address is cut off before there are too many")
	}
	come("last", "203.0.113.1")
	if !cut["other"] || len(cut) != 3 || s.all.Len() != maxStrangers {
		t.Errorf("of all: got %v cut off of %d, want the oldest", cut, s.all.Len())
	}
	leave["other"]() // its connection's own end, which comes later
	leave["last"]()
	leave["last"]()
	if s.all.Len() != maxStrangers-1 || s.from["192.0.2.9"] != 0 || s.from["203.0.113.1"] != 0 {
		t.Errorf("after the end: got %d", s.all.Len())
	}
}

// TestStrangerBecomesKnown: who shows a token is none any more, nor who has gone.
func TestStrangerBecomesKnown(t *testing.T) {
	var s strangers
	c := &boundedConn{Conn: new(net.TCPConn), timer: time.NewTimer(time.Hour)}
	c.leave = s.add(&net.TCPAddr{}, func() {})
	c.know()
	if s.all.Len() != 0 {
		t.Error("who has shown a token counts as a stranger")
	}
	gone := &boundedConn{Conn: new(net.TCPConn), timer: time.NewTimer(time.Hour)}
	gone.leave = s.add(&net.TCPAddr{}, func() {})
	_ = gone.Close()
	if s.all.Len() != 0 || len(s.from) != 0 {
		t.Error("who has gone counts")
	}
}
