package live

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// plainOrigin answers whatever it reads, at once, with the same bytes: a request here comes in one piece.
func plainOrigin(tb testing.TB, answer string) config.Endpoint {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return config.Endpoint{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}
}

// BenchmarkRoutes is a whole request through the proxy, to routes all over a table: 100,000 routes should cost what 10 do.
// The tables take turns within one run, since the machine's speed changes from run to run.
func BenchmarkRoutes(b *testing.B) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n"
	r := New(Options{DrainTime: time.Second})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r.Drain(ctx)
	})
	c := makeConfig(map[string]config.Endpoint{"up": plainOrigin(b, answer+fmt.Sprintf("%0128d", 0))})
	sizes := []int{10, 1000, 10_000, 100_000}
	path := func(i int) string { return fmt.Sprintf("/api/v%d/team-%d/service-%d", i%3, i/100, i) }
	for _, n := range sizes {
		name := fmt.Sprint(n)
		rules := make([]*config.Route, n)
		for i := range rules {
			rules[i] = &config.Route{Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: path(i)},
				Clusters: []config.WeightedCluster{{Name: "up", Weight: 1}}}
		}
		c.RouteTables[name] = &config.RouteTable{Name: name, Hosts: []*config.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: rules}}}
		c.Listeners[name] = on(name, "127.0.0.1:0", httpChain("plain", name))
	}
	if err := r.Apply(c); err != nil {
		b.Fatal(err)
	}
	lines := make([]net.Conn, len(sizes))
	for i, l := range r.View().Listeners {
		for at, n := range sizes {
			if l.Name == fmt.Sprint(n) {
				conn, err := net.Dial("tcp", r.View().Listeners[i].Address.String())
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				lines[at] = conn
			}
		}
	}
	buf := make([]byte, 4096)
	took := make([]time.Duration, len(sizes))
	const block = 200
	asks := make([][block]string, len(sizes))
	n := 0
	for b.Loop() {
		for at, size := range sizes {
			for i := range asks[at] {
				n += 7919
				asks[at][i] = "GET " + path(n%size) + "/x?y=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: lean/1.0\r\nAccept: */*\r\n\r\n"
			}
			start := time.Now()
			for i := range asks[at] {
				if _, err := io.WriteString(lines[at], asks[at][i]); err != nil {
					b.Fatal(err)
				}
				for got := 0; ; {
					m, err := lines[at].Read(buf[got:])
					if err != nil {
						b.Fatal(err)
					}
					if got += m; got > 128 && string(buf[got-128:got-120]) == "00000000" {
						break
					}
				}
			}
			took[at] += time.Since(start)
		}
	}
	for at, size := range sizes {
		b.ReportMetric(float64(took[at].Nanoseconds())/float64(b.N*block), fmt.Sprintf("ns/request-%d", size))
	}
	b.ReportMetric(float64(took[len(sizes)-1])/float64(took[0]), "ratio-100000-to-10")
}
