package bench

import (
	"fmt"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/load"
)

const (
	// editedRate is the rate of requests under which configurations are edited, in requests/s.
	editedRate = 2000
	editEvery  = 300 * time.Millisecond
	editedTime = 3 * time.Second
	pacedConns = 64
)

// pacedRows are about latency, at a rate that does not yield.
func pacedRows(get load.HTTP1) []Row {
	return []Row{{
		Name: "latency", Title: "added latency, 64 connections, at half of nginx's capacity",
		Pace:  func(p *Proxy) (float64, error) { return capacity(p, get) },
		Round: func(p *Proxy) (Figures, error) { return added(p, get) },
	}, {
		Name: "edits", Title: fmt.Sprintf("%d requests/s while the configuration is edited every %v", editedRate, editEvery),
		Lacks:  map[string]string{"caddy": "not edited here", "reverseproxy": "has no configuration"},
		Rounds: 4,
		Round:  func(p *Proxy) (Figures, error) { return edited(p, get) },
	}}
}

// capacity is half of what a proxy answers when it is asked as fast as it can.
func capacity(p *Proxy, get load.HTTP1) (float64, error) {
	l, err := load.Open(p.HTTP, pacedConns, nil, get)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	if _, _, err := l.Run(warmTime); err != nil {
		return 0, err
	}
	done, took, err := l.Run(roundTime)
	if err != nil {
		return 0, err
	}
	return float64(done) / took.Seconds() / 2, nil
}

// added is what a proxy adds to the latency that the origin has by itself, asked just after it in the same way.
func added(p *Proxy, get load.HTTP1) (Figures, error) {
	through, err := latencies(p.HTTP, p.rate, get)
	if err != nil {
		return nil, err
	}
	direct, err := latencies(p.Origin.HTTP1, p.rate, get)
	if err != nil {
		return nil, err
	}
	figures := Figures{}
	for name, percent := range map[string]float64{"p50": 50, "p99": 99, "p99.9": 99.9} {
		more := through.Percentile(percent) - direct.Percentile(percent)
		figures[name] = max(0, float64(more.Nanoseconds())/1e3)
	}
	return figures, nil
}

func latencies(addr string, rate float64, get load.HTTP1) (load.Latencies, error) {
	l, err := load.Pace(addr, pacedConns, get, false)
	if err != nil {
		return load.Latencies{}, err
	}
	defer l.Close()
	if _, err := l.Run(rate, warmTime); err != nil {
		return load.Latencies{}, err
	}
	return l.Run(rate, roundTime)
}

// edited asks while the configuration is edited, and wants the last edit to be true in the end.
func edited(p *Proxy, get load.HTTP1) (Figures, error) {
	l, err := load.Pace(p.HTTP, pacedConns, get, true)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	stop, err := l.Every(editEvery, func() error {
		p.edits++
		return p.edit(p.edits)
	})
	if err != nil {
		return nil, err
	}
	result, err := l.Run(editedRate, editedTime)
	stop()
	if err != nil {
		return nil, err
	}
	host := fmt.Sprintf("edit-%d.test", p.edits)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if err = p.check(host, "/", 128); err == nil {
			break
		}
		if time.Since(begin) > 10*time.Second {
			return nil, fmt.Errorf("the last edit did not come true: %w", err)
		}
	}
	return Figures{"failed": float64(result.Failed), "edited": float64(result.Percentile(99).Nanoseconds()) / 1e3}, nil
}
