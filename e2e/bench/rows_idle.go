package bench

import (
	"fmt"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/load"
	"github.com/sluice-proxy/sluice/e2e/bench/usage"
)

// idleConns is how many connections are held while memory is looked at.
const idleConns = 5000

// idleRows are about memory of connections on which nothing happens. Every round has proxies that have just been
// started: memory that an earlier load left behind would hide what connections take.
func idleRows(get load.HTTP1, secure, secureH2 *load.Secure) []Row {
	h2 := load.HTTP2{Streams: 1, Fields: load.GetFields(Host, "/"), Size: 128}
	return []Row{
		{Name: "idle-h1", Title: "5,000 idle connections, HTTP/1.1", Fresh: true, Rounds: 3, Round: idle(plainAddr, nil, get)},
		{Name: "idle-tls", Title: "5,000 idle connections, HTTPS", Fresh: true, Rounds: 3, Round: idle(secureAddr, secure, get)},
		{Name: "idle-h2", Title: "5,000 idle connections, HTTP/2 over TLS", Fresh: true, Rounds: 3, Round: idle(secureAddr, secureH2, h2)},
	}
}

// idle is how much more memory a proxy has with the connections, each of which has asked once, than without.
func idle(addr func(*Proxy) string, secure *load.Secure, kind load.Kind) func(*Proxy) (Figures, error) {
	return func(p *Proxy) (Figures, error) {
		before, err := settled(p.PID())
		if err != nil {
			return nil, err
		}
		l, err := load.Idle(addr(p), idleConns, secure, kind)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		after, err := settled(p.PID())
		if err != nil {
			return nil, err
		}
		if l.Len() != idleConns {
			return nil, fmt.Errorf("%d connections are left, want %d", l.Len(), idleConns)
		}
		return Figures{"memory": float64(after-before) / 1024 / idleConns}, nil
	}
}

// settled is a process tree's memory in bytes when it has not changed by more than half a percent for two seconds, or
// after twenty.
func settled(pid int) (int64, error) {
	last, err := usage.Resident(pid)
	if err != nil {
		return 0, err
	}
	for begin, since := time.Now(), time.Now(); time.Since(since) < 2*time.Second && time.Since(begin) < 20*time.Second; {
		time.Sleep(200 * time.Millisecond)
		now, err := usage.Resident(pid)
		if err != nil {
			return 0, err
		}
		if change := now - last; max(change, -change) > last/200 {
			last, since = now, time.Now()
		}
	}
	return usage.Resident(pid)
}
