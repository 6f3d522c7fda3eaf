package httpproxy

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/tcpproxy"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// downstreamSwitch is a Stream that can be given up for another protocol.
type downstreamSwitch interface {
	// Switch sends a 101, or what stands for it. ahead are bytes that came before it; all else is read from conn.
	Switch(head *message.Response) (ahead []byte, conn net.Conn, err error)
}

// upstreamSwitch is an exchange whose answer was a 101.
type upstreamSwitch interface {
	Switched() (ahead []byte, conn net.Conn)
}

// maySwitch tells whether a request's upgrade is allowed: by its rule, if that names the protocol, else by the listener.
// r may be nil. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/upgrades
func (x *exchange) maySwitch(r *route.Rule) bool {
	if x.req.Proto == message.HTTP10 {
		return false // RFC 9110, 7.8
	}
	if r != nil {
		if enabled, named := allows(r.Upgrades, x.req.Upgrade); named {
			return enabled
		}
	}
	enabled, _ := allows(x.p.config.Upgrades, x.req.Upgrade)
	return enabled
}

func allows(list []config.Upgrade, protocol string) (enabled, named bool) {
	for i := range list {
		if http1.EqualToken(list[i].Protocol, protocol) {
			return list[i].Enabled, true
		}
	}
	return false, false
}

// switchTo hands a 101 on, and carries bytes both ways until either side ends.
func (x *exchange) switchTo(up upstream.Exchange, res *message.Response) *failure.Error {
	down, ok := x.s.(downstreamSwitch)
	from, ok2 := up.(upstreamSwitch)
	protocol, _ := res.Header.Get("upgrade")
	if !ok || !ok2 || !http1.EqualToken(protocol, x.req.Upgrade) {
		return failure.Newf(failure.BadResponse, "status 101 with upgrade %q, want %q (RFC 9110, 7.8)", protocol, x.req.Upgrade)
	}
	if p := x.pump; p != nil {
		// RFC 9110, 7.8: the new protocol begins behind the request's body.
		if p.done != nil {
			<-p.done
		}
		if !p.whole {
			return x.because(failure.Newf(failure.Reset, "the request was not sent to its end"))
		}
	}
	cleanResponse(res)
	res.Header.Add("upgrade", protocol)
	x.change(&res.Header, x.changes, res)
	x.commonHeader(res)
	x.mu.Lock()
	x.begun = true
	x.mu.Unlock()
	early, client, err := down.Switch(res)
	if err != nil {
		x.sendErr = err
		return x.because(err)
	}
	x.responded = true
	x.record.Response, x.record.Status = res, res.Status
	first, server := from.Switched()
	x.carry(up, client, server, early, first)
	if x.cause.Load() != 0 {
		return x.because(nil)
	}
	return nil
}

// carry carries bytes both ways. As with Envoy, the end of one side is the end of both, once the other has what it sent.
func (x *exchange) carry(up upstream.Exchange, client, server net.Conn, early, first []byte) {
	stats := x.p.stats
	stats.UpgradesTotal.Add(1)
	stats.UpgradesActive.Add(1)
	defer stats.UpgradesActive.Add(-1)
	x.touch()
	x.tunnel.Store(true)
	var upward sync.WaitGroup
	var upErr error
	upward.Go(func() {
		upErr = x.way(server, client, early, &x.received)
		up.Close(false)
	})
	err := x.way(client, server, first, &x.sent)
	up.Close(false)
	_ = x.s.SetReadDeadline(time.Unix(1, 0))
	upward.Wait()
	if x.cause.Load() == 0 && (err == io.EOF || upErr == io.EOF) {
		// A stream's end; a connection's is the codec's to make.
		_ = x.s.End(nil)
	}
}

// way carries one way, until its source has ended (io.EOF) or either side fails.
func (x *exchange) way(to, from net.Conn, ahead []byte, count *int64) error {
	moved := func(n int64) {
		*count += n
		x.touch()
	}
	if len(ahead) > 0 {
		n, err := to.Write(ahead)
		if moved(int64(n)); err != nil {
			return err
		}
	}
	return tcpproxy.Carry(to, from, moved)
}
