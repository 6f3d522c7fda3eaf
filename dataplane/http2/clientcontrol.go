package http2

import (
	"errors"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// maxSettings is how many entries a SETTINGS may have: each may change the windows of all streams.
const maxSettings = 100

// readOther reads what is neither DATA nor HEADERS.
func (c *ClientConn) readOther(h xhttp2.FrameHeader) error {
	frame, err := c.framer.ReadFrameForHeader(h)
	c.lock()
	defer c.unlock()
	if err != nil {
		var stream xhttp2.StreamError
		if !errors.As(err, &stream) {
			return c.frameError(err)
		}
		s, err := c.find(stream.StreamID)
		if s != nil && s != &lingering {
			c.reset(s, stream.Code, failure.Newf(failure.BadResponse, "malformed %v frame", h.Type))
		}
		return err
	}
	switch f := frame.(type) {
	case *xhttp2.WindowUpdateFrame:
		return c.takeWindowUpdate(f)
	case *xhttp2.RSTStreamFrame:
		return c.takeReset(f)
	case *xhttp2.SettingsFrame:
		return c.takeSettings(f)
	case *xhttp2.PingFrame:
		return c.takePing(f)
	case *xhttp2.GoAwayFrame:
		c.takeGoAway(f)
		return nil
	case *xhttp2.PushPromiseFrame:
		return protocolError("PUSH_PROMISE, which our SETTINGS forbid (RFC 9113, 6.6)")
	default:
		// PRIORITY means nothing any more (RFC 9113, 5.3.2), and what is not known is ignored (5.5).
		return c.useless(costFrame)
	}
}

// takeWindowUpdate lets who writes go on (RFC 9113, 6.9).
func (c *ClientConn) takeWindowUpdate(f *xhttp2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if !c.window.open(int64(f.Increment)) {
			return connectionError{xhttp2.ErrCodeFlowControl, "the connection's window grows beyond 2^31-1"}
		}
		if c.starved > 0 {
			for _, s := range c.streams {
				if s.starved {
					s.writable.Signal()
				}
			}
			return nil
		}
		return c.useless(costFrame)
	}
	s, err := c.find(f.StreamID)
	if s == nil || s == &lingering {
		return err
	}
	blocked := s.window <= 0
	if !s.window.open(int64(f.Increment)) {
		c.reset(s, xhttp2.ErrCodeFlowControl, failure.Newf(failure.BadResponse, "the stream's window grows beyond 2^31-1"))
		return nil
	}
	if !blocked {
		return c.useless(costFrame)
	}
	s.writable.Signal()
	return nil
}

// takeReset ends a stream (RFC 9113, 6.4). An answer that is whole stays so: the upstream did not want to read the
// request to its end (8.1).
func (c *ClientConn) takeReset(f *xhttp2.RSTStreamFrame) error {
	s, err := c.find(f.StreamID)
	switch {
	case s == nil:
		return err
	case s == &lingering:
		c.unlinger(f.StreamID)
		return nil
	}
	c.forget(s)
	s.fail(&failure.Error{
		Kind: failure.Reset,
		// RFC 9113, 8.7: it was not processed.
		Retryable: f.ErrCode == xhttp2.ErrCodeRefusedStream && !s.answered,
		Refused:   f.ErrCode == xhttp2.ErrCodeRefusedStream && !s.answered,
		Err:       errors.New("the upstream reset the stream: " + f.ErrCode.String()),
	})
	return nil
}

// takePing answers, or is the answer (RFC 9113, 6.7).
func (c *ClientConn) takePing(f *xhttp2.PingFrame) error {
	if f.IsAck() {
		if answered := c.pings[f.Data]; answered != nil {
			delete(c.pings, f.Data)
			close(answered)
			return nil
		}
		return c.useless(costFrame)
	}
	c.out.ping(true, f.Data)
	if err := c.replied(); err != nil {
		return err
	}
	return c.useless(costFrame)
}

// replied sends an answer on its way, unless the upstream reads none of them.
func (c *ClientConn) replied() error {
	if !c.out.answered() {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "answers to PING and SETTINGS are not read"}
	}
	c.kick = true
	return nil
}

// takeGoAway: no stream is begun any more, and those above the last that was processed can be tried elsewhere
// (RFC 9113, 6.8).
func (c *ClientConn) takeGoAway(f *xhttp2.GoAwayFrame) {
	c.draining, c.refusing = true, true
	for id, s := range c.streams {
		switch {
		case id <= f.LastStreamID:
		case s == &lingering:
			c.unlinger(id)
		default:
			c.forget(s)
			s.fail(&failure.Error{Kind: failure.Reset, Retryable: !s.answered, Refused: !s.answered,
				Err: errors.New("the upstream went away before this stream: " + f.ErrCode.String())})
		}
	}
	if c.full {
		// Who waits for room here must look elsewhere.
		c.full, c.news = false, true
	}
}

// takeSettings takes the upstream's wishes (RFC 9113, 6.5.2).
func (c *ClientConn) takeSettings(f *xhttp2.SettingsFrame) error {
	if f.IsAck() {
		return c.useless(costFrame)
	}
	if f.NumSettings() > maxSettings {
		return connectionError{xhttp2.ErrCodeEnhanceYourCalm, "SETTINGS with many entries"}
	}
	if !c.greeted {
		c.greeted = true
		c.out.room.Broadcast() // for awaitExtendedConnect
		c.maxStreams = maxClientStreams
	}
	for i := range f.NumSettings() {
		setting := f.Setting(i)
		if err := setting.Valid(); err != nil {
			return c.frameError(err)
		}
		switch setting.ID {
		case xhttp2.SettingEnablePush:
			if setting.Val != 0 {
				return protocolError("a server with SETTINGS_ENABLE_PUSH (RFC 9113, 6.5.2)")
			}
		case xhttp2.SettingMaxConcurrentStreams:
			c.maxStreams = setting.Val
		case xhttp2.SettingEnableConnectProtocol:
			if setting.Val == 0 && c.extendedConnect {
				return protocolError("SETTINGS_ENABLE_CONNECT_PROTOCOL taken back (RFC 8441, 3)")
			}
			c.extendedConnect = setting.Val == 1
		case xhttp2.SettingHeaderTableSize:
			c.out.encoder.resize(setting.Val)
		case xhttp2.SettingInitialWindowSize:
			if err := c.resize(int64(setting.Val)); err != nil {
				return err
			}
		}
		// Frames of 16 KiB are always allowed, and a list of fields too long is the upstream's to refuse.
	}
	c.freed()
	c.out.settingsAck()
	if err := c.replied(); err != nil {
		return err
	}
	return c.useless(costSettings)
}

// resize changes the windows of all streams (RFC 9113, 6.9.2): they may become negative.
func (c *ClientConn) resize(window int64) error {
	delta := window - int64(c.streamWindow)
	c.streamWindow = sendWindow(window)
	for _, s := range c.streams {
		if s == &lingering {
			continue
		}
		if !s.window.open(delta) {
			return connectionError{xhttp2.ErrCodeFlowControl, "a stream's window grows beyond 2^31-1"}
		}
		if delta > 0 {
			s.writable.Signal()
		}
	}
	return nil
}
