package http2

import "time"

// What a peer may do that costs us work and brings nobody further. Each peer has patience for a burst of it, which comes
// back with time and with what it does that is of use; a peer that uses it up is told ENHANCE_YOUR_CALM, and closed.
// This is RFC 9113, 10.5, and what became of it: CVE-2019-9511 to -9518, CVE-2023-44487. Envoy has a counter for each of
// these (max_inbound_priority_frames_per_stream and its kin, premature resets), nginx weighs all bytes against those of
// bodies. A clock is asked only when patience has run out, so that what is normal costs an addition; a burst may so be
// twice the limit.
const (
	patienceLimit     = 2000
	patiencePerSecond = 200

	// costFrame is of a frame that carries no message: PING, PRIORITY, WINDOW_UPDATE, and what we do not know. 200 a second
	// may come for ever (a keepalive sends one in ten seconds).
	costFrame = 1
	// costSettings is of SETTINGS, which may change every stream's window and has an answer. Peers send one or two.
	costSettings = 20
	// costEmpty is of a DATA frame without data or end (CVE-2019-9518); Envoy allows one in a row.
	costEmpty = 10
	// costlyData is the size in bytes below which DATA for nobody costs a frame.
	costlyData = 1 << 10
	// costReset is of a request that its client takes back before the answer (CVE-2023-44487, "rapid reset"), or makes us
	// refuse: 500 at once, as with Envoy's premature_reset_total_stream_count, then 50 in a second, and one more for each
	// request that is answered.
	costReset = 4

	// earnAnswer is for an answer that was sent to its end.
	earnAnswer = 4
	// earnData is for a DATA frame, either way: a receiver may send that many WINDOW_UPDATEs for each
	// (max_inbound_window_update_frames_per_data_frame_sent of Envoy).
	earnData = 10
)

// patience is what is left for one peer. The connection's lock guards it.
type patience struct {
	left int
	// since is from when on time is counted.
	since time.Time
}

func newPatience() patience { return patience{left: patienceLimit, since: time.Now()} }

// spend takes n; false if there is no patience left.
func (p *patience) spend(n int) bool {
	if p.left -= n; p.left > 0 {
		return true
	}
	now := time.Now()
	p.earn(int(min(now.Sub(p.since).Seconds(), patienceLimit) * patiencePerSecond))
	p.since = now
	return p.left > 0
}

// earn gives n back.
func (p *patience) earn(n int) { p.left = min(p.left+n, patienceLimit) }
