package http2

import (
	"encoding/binary"
	"math"
	"net"
	"runtime"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/alarm"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

const (
	frameHeader = 9
	// defaultFrame is the largest payload of a frame that needs no leave (RFC 9113, 4.2). We never send larger ones: they
	// would make other streams wait, and TLS cuts them into records of this size anyway.
	defaultFrame = 16 << 10
	// gatherLimit is how many bytes may be gathered before who adds DATA waits for them to be written.
	gatherLimit = 64 << 10
	// maxRounds is how many buffers a stream writes on end for others, while its own answer waits.
	maxRounds = 4
	// maxControl is how many answers to frames (PING, SETTINGS, RST_STREAM) may wait to be written. A peer that does not
	// read what it asks for is stopped there (CVE-2019-9512, -9514, -9515); Envoy's max_outbound_control_frames is the same.
	maxControl = 1000
)

// gathered are buffers of frames that wait to be written.
var gathered = sync.Pool{New: func() any {
	b := make([]byte, 0, gatherLimit+defaultFrame+1<<10)
	return &b
}}

// frameWriter gathers the frames of all streams in one buffer, and writes them together: one system call, and one
// record of TLS, for what many streams have to say. There is no goroutine for it: who calls flush writes for all, and
// the others go on. mu is the connection's lock: it guards HPACK's state, the order of frames, and what the connection
// keeps beside. Methods whose comment does not say otherwise want it held.
type frameWriter struct {
	mu   sync.Mutex
	conn net.Conn
	// stall closes the connection if one write takes longer than timeout; nil is never.
	stall   *alarm.Alarm
	timeout time.Duration

	// Guarded by mu. buf is nil if nothing is gathered. generation counts the buffers that were handed to the socket.
	buf        *[]byte
	generation uint64
	encoder    encoder
	// block is where the field section begins that is being written; invalid is set by a field that cannot be sent.
	block   int
	invalid bool
	// maxFrame is the largest payload to send.
	maxFrame int
	// control counts the answers that are gathered, or being written.
	control int
	// writing: a goroutine is in conn.Write. scheduled: one will be soon.
	writing, scheduled bool
	err                error

	// room is signalled when a write has ended.
	room sync.Cond
	// flushers are the goroutines of kick.
	flushers sync.WaitGroup
}

func (w *frameWriter) init(conn net.Conn, timeout time.Duration) {
	w.conn, w.timeout = conn, timeout
	w.maxFrame = defaultFrame
	w.encoder.init()
	w.room.L = &w.mu
	if timeout > 0 {
		w.stall = alarm.New(func() time.Time { conn.Close(); return time.Time{} })
	}
}

// frame begins a frame whose payload has n bytes, which are appended next.
func (w *frameWriter) frame(n int, kind xhttp2.FrameType, flags xhttp2.Flags, stream uint32) *[]byte {
	if w.buf == nil {
		w.buf = gathered.Get().(*[]byte)
	}
	b := append(*w.buf, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	*w.buf = binary.BigEndian.AppendUint32(b, stream)
	return w.buf
}

// beginHeaders begins a field section; field and endHeaders follow, under the same hold of mu.
func (w *frameWriter) beginHeaders(stream uint32) {
	b := w.frame(0, xhttp2.FrameHeaders, 0, stream)
	w.block, w.invalid = len(*b), false
	*b = w.encoder.begin(*b)
}

// pseudo adds a pseudo-field, or another whose name and value are known to be right.
func (w *frameWriter) pseudo(name, value string) { *w.buf = w.encoder.field(*w.buf, name, value) }

// field adds a field; its name is made lower case. One that cannot be sent makes endHeaders fail.
func (w *frameWriter) field(name, value string) {
	if !http1.ValidName(name) || !http1.ValidValue(value) {
		w.invalid = true
		return
	}
	*w.buf = w.encoder.field(*w.buf, name, value)
}

// trailers ends a stream with the fields that may stand in a trailer; without any, with DATA.
func (w *frameWriter) trailers(stream uint32, trailer message.Header, last dataMark) error {
	begun := false
	for i := range trailer {
		f := &trailer[i]
		if forbiddenTrailer(w.encoder.lower(f.Name)) {
			continue
		}
		if !begun {
			begun = true
			w.beginHeaders(stream)
		}
		w.field(f.Name, f.Value)
	}
	if begun {
		return w.endHeaders(stream, true)
	}
	w.endData(stream, last)
	return nil
}

// endHeaders ends a field section; end says that the stream ends with it. If a field was not valid it fails, and the
// section is not sent; what it put into HPACK's table is, so the connection lives on.
func (w *frameWriter) endHeaders(stream uint32, end bool) error {
	if w.invalid {
		// The peer must learn of new entries of the table all the same. That is more than this case is worth: the table is
		// emptied instead, which the next section announces.
		*w.buf = (*w.buf)[:w.block-frameHeader]
		w.encoder.forget()
		return errField
	}
	b := *w.buf
	start := w.block - frameHeader
	var flags xhttp2.Flags
	if end {
		flags = xhttp2.FlagHeadersEndStream
	}
	n := len(b) - w.block
	if n <= w.maxFrame {
		b[start], b[start+1], b[start+2] = byte(n>>16), byte(n>>8), byte(n)
		b[start+4] = byte(flags | xhttp2.FlagHeadersEndHeaders)
		return nil
	}
	// RFC 9113, 4.3: in pieces, with no other frame between them.
	section := append([]byte(nil), b[w.block:]...)
	*w.buf = b[:start]
	for kind := xhttp2.FrameHeaders; len(section) > 0; kind, flags = xhttp2.FrameContinuation, 0 {
		piece := section[:min(len(section), w.maxFrame)]
		section = section[len(piece):]
		if len(section) == 0 {
			flags |= xhttp2.FlagHeadersEndHeaders
		}
		b := w.frame(len(piece), kind, flags, stream)
		*b = append(*b, piece...)
	}
	return nil
}

// dataMark is where a DATA frame stands that was gathered, so that endData can end the stream with it.
type dataMark struct {
	generation uint64
	at         int
}

// full tells whether who adds DATA must call makeRoom first.
func (w *frameWriter) full() bool { return w.buf != nil && len(*w.buf) >= gatherLimit }

// data adds a DATA frame; p has at most maxFrame bytes.
func (w *frameWriter) data(stream uint32, p []byte, end bool) dataMark {
	var flags xhttp2.Flags
	if end {
		flags = xhttp2.FlagDataEndStream
	}
	b := w.frame(len(p), xhttp2.FrameData, flags, stream)
	mark := dataMark{w.generation, len(*b) - frameHeader}
	*b = append(*b, p...)
	return mark
}

// endData ends a stream with the DATA frame that was its last, if that is still here, else with an empty one.
func (w *frameWriter) endData(stream uint32, last dataMark) {
	if w.buf != nil && last.generation == w.generation && last.at > 0 {
		(*w.buf)[last.at+4] |= byte(xhttp2.FlagDataEndStream)
		return
	}
	w.data(stream, nil, true)
}

func (w *frameWriter) word(kind xhttp2.FrameType, stream, value uint32) {
	b := w.frame(4, kind, 0, stream)
	*b = binary.BigEndian.AppendUint32(*b, value)
}

// reset adds a RST_STREAM.
func (w *frameWriter) reset(stream uint32, code xhttp2.ErrCode) {
	w.word(xhttp2.FrameRSTStream, stream, uint32(code))
}

// windowUpdate adds a WINDOW_UPDATE; stream 0 is the connection's.
func (w *frameWriter) windowUpdate(stream, increment uint32) {
	w.word(xhttp2.FrameWindowUpdate, stream, increment)
}

// ping adds a PING, or the answer to one.
func (w *frameWriter) ping(ack bool, data [8]byte) {
	var flags xhttp2.Flags
	if ack {
		flags = xhttp2.FlagPingAck
	}
	b := w.frame(len(data), xhttp2.FramePing, flags, 0)
	*b = append(*b, data[:]...)
}

// settings adds a SETTINGS.
func (w *frameWriter) settings(settings ...xhttp2.Setting) {
	b := w.frame(6*len(settings), xhttp2.FrameSettings, 0, 0)
	for _, s := range settings {
		*b = binary.BigEndian.AppendUint16(*b, uint16(s.ID))
		*b = binary.BigEndian.AppendUint32(*b, s.Val)
	}
}

// settingsAck adds the answer to a SETTINGS.
func (w *frameWriter) settingsAck() { w.frame(0, xhttp2.FrameSettings, xhttp2.FlagSettingsAck, 0) }

// goAway adds a GOAWAY.
func (w *frameWriter) goAway(last uint32, code xhttp2.ErrCode, debug string) {
	b := w.frame(8+len(debug), xhttp2.FrameGoAway, 0, 0)
	*b = binary.BigEndian.AppendUint32(*b, last)
	*b = binary.BigEndian.AppendUint32(*b, uint32(code))
	*b = append(*b, debug...)
}

// answered counts a frame that was gathered because the peer sent one; false if too many wait.
func (w *frameWriter) answered() bool {
	w.control++
	return w.control <= maxControl
}

// flush sends what is gathered; it wants mu not held. If another goroutine writes, or will, it sends ours too, and
// flush returns at once. Others that are ready to run go first, so that their frames go out in the same write.
func (w *frameWriter) flush() error {
	w.mu.Lock()
	if w.err != nil || w.writing || w.scheduled || w.buf == nil {
		err := w.err
		w.mu.Unlock()
		return err
	}
	if len(*w.buf) < gatherLimit/2 {
		w.scheduled = true
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
		w.scheduled = false
	}
	w.write(maxRounds)
	err := w.err
	w.mu.Unlock()
	return err
}

// kick sees to it that what is gathered is sent, and never waits; it wants mu not held. It is for who must go on
// reading: frames that the peer sends may be what lets it read ours.
func (w *frameWriter) kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handOver()
}

// handOver has a goroutine of its own send what is gathered, if no other does.
func (w *frameWriter) handOver() {
	if w.err != nil || w.writing || w.scheduled || w.buf == nil {
		return
	}
	w.scheduled = true
	w.flushers.Go(func() {
		w.mu.Lock()
		w.scheduled = false
		w.write(math.MaxInt)
		w.mu.Unlock()
	})
}

// makeRoom waits until a write has ended, by another goroutine or this one. The caller looks again.
func (w *frameWriter) makeRoom() {
	if w.writing {
		w.room.Wait()
		return
	}
	w.write(maxRounds)
}

// write sends what is gathered until nothing is, or for a number of rounds; mu is not held meanwhile.
func (w *frameWriter) write(rounds int) {
	if w.writing {
		return
	}
	w.writing = true
	for ; w.err == nil && w.buf != nil && rounds > 0; rounds-- {
		buf, answers := w.buf, w.control
		w.buf = nil
		w.generation++
		w.mu.Unlock()
		if w.stall != nil {
			w.stall.Set(time.Now().Add(w.timeout))
		}
		_, err := w.conn.Write(*buf)
		if w.stall != nil {
			w.stall.Clear()
		}
		if cap(*buf) <= 2*gatherLimit {
			*buf = (*buf)[:0]
			gathered.Put(buf)
		}
		w.mu.Lock()
		w.control -= answers
		if err != nil {
			w.fail(err)
		}
		w.room.Broadcast()
	}
	w.writing = false
	w.handOver()
}

// fail ends the writer: nothing is sent any more, and who waits for room goes on.
func (w *frameWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	if w.buf != nil {
		*w.buf = (*w.buf)[:0]
		gathered.Put(w.buf)
		w.buf = nil
	}
	w.room.Broadcast()
}

// close ends the writer for good, and waits for the goroutines of kick; it wants mu not held, and the connection
// closed, or nothing to be written.
func (w *frameWriter) close() {
	w.mu.Lock()
	w.fail(errConnClosed)
	w.mu.Unlock()
	w.flushers.Wait()
	if w.stall != nil {
		w.stall.Stop()
	}
}
