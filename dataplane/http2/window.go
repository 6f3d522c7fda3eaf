package http2

const (
	// maxWindow is the largest a flow-control window may become (RFC 9113, 6.9.1).
	maxWindow = 1<<31 - 1
	// initialWindow is a window's size before SETTINGS or WINDOW_UPDATE say otherwise (RFC 9113, 6.9.2).
	initialWindow = 65535
)

// sendWindow is how many bytes of DATA the peer lets us send. It may be negative, after the peer made its
// INITIAL_WINDOW_SIZE smaller (RFC 9113, 6.9.2). Its owner's lock guards it.
type sendWindow int32

// open moves the window by the increment of a WINDOW_UPDATE, or by the difference of two INITIAL_WINDOW_SIZEs. False
// means that it would exceed maxWindow: FLOW_CONTROL_ERROR, and the window is as before.
func (w *sendWindow) open(by int64) bool {
	n := int64(*w) + by
	if n > maxWindow {
		return false
	}
	*w = sendWindow(n)
	return true
}

// available is how many bytes may be sent now.
func (w sendWindow) available() int { return max(0, int(w)) }

// take uses n bytes up, which were available.
func (w *sendWindow) take(n int) { *w -= sendWindow(n) }

// receiveWindow is how many bytes of DATA we let the peer send. What has been read is credited in batches, so that a
// body does not cost a WINDOW_UPDATE for each of its frames.
type receiveWindow struct {
	// size is what the window is when all has been read; left may still be sent; owed has been read, and is not yet
	// credited. What is neither left nor owed waits to be read.
	size, left, owed int32
}

func newReceiveWindow(size uint32) receiveWindow {
	n := int32(min(size, maxWindow))
	return receiveWindow{size: n, left: n}
}

// receive takes n bytes that came, padding and all; false means that they are more than was allowed:
// FLOW_CONTROL_ERROR.
func (w *receiveWindow) receive(n int) bool {
	if n > int(w.left) {
		return false
	}
	w.left -= int32(n)
	return true
}

// read notes that n bytes have been read, or dropped, and returns the increment of the WINDOW_UPDATE that is now due;
// 0 is none. It is due once half of the window is owed: until then the peer has the other half to go on with.
func (w *receiveWindow) read(n int) (increment uint32) {
	w.owed += int32(n)
	if w.owed == 0 || w.owed < w.size/2 {
		return 0
	}
	increment = uint32(w.owed)
	w.left += w.owed
	w.owed = 0
	return increment
}
