package http2

import (
	"errors"
	"time"

	xhttp2 "golang.org/x/net/http2"
)

// read reads frames and acts on them until the connection ends; a connectionError is for the client to hear.
func (c *serverConn) read() error {
	for {
		if c.owes && c.in.Buffered() < frameHeader {
			c.owes = false
			c.kick()
		}
		fh, err := c.framer.ReadFrameHeader()
		if err == nil {
			err = c.process(fh)
		}
		if err != nil {
			if err = c.told(err); err != nil {
				return err
			}
		}
	}
}

// told makes the Framer's errors ours, and deals with those of one stream.
func (c *serverConn) told(err error) error {
	var stream xhttp2.StreamError
	var conn xhttp2.ConnectionError
	switch {
	case errors.As(err, &stream):
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.streamError(stream.StreamID, stream.Code, stream.Error())
	case errors.As(err, &conn):
		text := ""
		if detail := c.framer.ErrorDetail(); detail != nil {
			text = detail.Error()
		}
		return connectionError{xhttp2.ErrCode(conn), text}
	case errors.Is(err, xhttp2.ErrFrameTooLarge):
		return connectionError{xhttp2.ErrCodeFrameSize, "frame too large"}
	}
	return err
}

func (c *serverConn) process(fh xhttp2.FrameHeader) error {
	if !c.greeted {
		// RFC 9113, 3.4: the first frame is SETTINGS.
		if fh.Type != xhttp2.FrameSettings || fh.Flags.Has(xhttp2.FlagSettingsAck) {
			return connectionError{xhttp2.ErrCodeProtocol, "the first frame is not SETTINGS"}
		}
		c.greeted = true
		defer c.unhurry()
	}
	switch fh.Type {
	case xhttp2.FrameHeaders:
		return c.headersFrame(fh)
	case xhttp2.FrameData:
		return c.dataFrame(fh)
	case xhttp2.FrameContinuation:
		return connectionError{xhttp2.ErrCodeProtocol, "CONTINUATION without HEADERS"}
	}
	f, err := c.framer.ReadFrameForHeader(fh)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	cost := costFrame
	if fh.Type == xhttp2.FrameSettings {
		cost = costSettings
	}
	if !c.patience.spend(cost) {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many frames that carry nothing"}
	}
	switch f := f.(type) {
	case *xhttp2.WindowUpdateFrame:
		return c.windowUpdateFrame(f)
	case *xhttp2.SettingsFrame:
		return c.settingsFrame(f)
	case *xhttp2.PingFrame:
		return c.pingFrame(f)
	case *xhttp2.RSTStreamFrame:
		return c.resetFrame(f)
	case *xhttp2.PriorityFrame:
		// RFC 9113, 5.3.2: ignored, save that a stream cannot depend on itself (RFC 7540, 5.3.1).
		if f.StreamDep == f.StreamID {
			return c.streamError(f.StreamID, xhttp2.ErrCodeProtocol, "a stream that depends on itself")
		}
	case *xhttp2.PushPromiseFrame:
		return connectionError{xhttp2.ErrCodeProtocol, "PUSH_PROMISE from a client"}
	}
	// GOAWAY: the client will open no more streams, and closes when it has its answers. Others are extensions.
	return nil
}

// unhurry takes the preface's deadline away, unless the connection was told to end meanwhile.
func (c *serverConn) unhurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain != drainDone {
		_ = c.conn.SetReadDeadline(time.Time{})
	}
}

// answers counts a frame that was gathered as an answer to the client's.
func (c *serverConn) answers() error {
	c.owes = true
	if !c.answered() {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "answers are not read"}
	}
	return nil
}

func (c *serverConn) windowUpdateFrame(f *xhttp2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if !c.send.open(int64(f.Increment)) {
			return connectionError{xhttp2.ErrCodeFlowControl, "window too large"}
		}
		for _, s := range c.streams {
			if s.starved {
				s.writable.Signal()
			}
		}
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return c.noStream(f.StreamID)
	}
	if !s.send.open(int64(f.Increment)) {
		return c.streamError(f.StreamID, xhttp2.ErrCodeFlowControl, "window too large")
	}
	s.writable.Signal()
	return nil
}

// noStream judges a frame for a stream that is not open: RFC 9113, 5.1 allows some on a closed one, none on an idle one.
func (c *serverConn) noStream(id uint32) error {
	if id%2 == 0 || id > c.last && c.drain < drainLast {
		return connectionError{xhttp2.ErrCodeProtocol, "a frame on an idle stream"}
	}
	return nil
}

func (c *serverConn) settingsFrame(f *xhttp2.SettingsFrame) error {
	if f.IsAck() {
		c.settingsAcked()
		return nil
	}
	if f.NumSettings() > 100 {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "SETTINGS with more than 100 entries"}
	}
	err := f.ForeachSetting(func(s xhttp2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case xhttp2.SettingHeaderTableSize:
			c.encoder.resize(s.Val)
		case xhttp2.SettingInitialWindowSize:
			by := int64(s.Val) - c.initialSend
			c.initialSend += by
			for _, stream := range c.streams {
				if !stream.send.open(by) {
					return connectionError{xhttp2.ErrCodeFlowControl, "window too large"}
				}
				stream.writable.Signal()
			}
		case xhttp2.SettingMaxFrameSize:
			c.maxFrame = int(min(s.Val, defaultFrame))
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.settingsAck()
	return c.answers()
}

// settingsAcked makes the streams that came before the client knew of our windows as the others are. Until then it may
// have sent what the protocol's default allows.
func (c *serverConn) settingsAcked() {
	if c.acked {
		return
	}
	c.acked = true
	size := int32(c.streamWindow())
	for _, s := range c.streams {
		s.receive.left -= s.receive.size - size
		s.receive.size = size
	}
}

func (c *serverConn) pingFrame(f *xhttp2.PingFrame) error {
	if f.IsAck() {
		if f.Data == drainPing && c.drain == drainAnnounced {
			c.drain = drainLast
			c.goAway(c.last, xhttp2.ErrCodeNo, "")
			c.owes = true
			c.closeIfDone()
		}
		return nil
	}
	c.ping(true, f.Data)
	return c.answers()
}

func (c *serverConn) resetFrame(f *xhttp2.RSTStreamFrame) error {
	s := c.streams[f.StreamID]
	if s == nil {
		return c.noStream(f.StreamID)
	}
	c.drop(s, errReset)
	if !c.patience.spend(costReset) {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many streams reset"}
	}
	return nil
}

// streamError resets a stream, open or not, for what the client did; mu is held.
func (c *serverConn) streamError(id uint32, code xhttp2.ErrCode, text string) error {
	if id == 0 || id > c.last && id%2 == 0 {
		return connectionError{code, text}
	}
	if s := c.streams[id]; s != nil {
		c.drop(s, errReset)
	}
	c.gone.add(id)
	c.reset(id, code)
	if !c.patience.spend(costReset) {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "too many streams that break the protocol"}
	}
	return c.answers()
}
