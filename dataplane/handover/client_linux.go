package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Predecessor is the process whose place is to be taken.
type Predecessor struct {
	path string
	line *line
	// Descriptors are its own; who takes them closes them.
	Descriptors []Received
	// PID is 0 where it is not to be seen.
	PID int
	// answer is what it says after the descriptors: Ended is closed then.
	answer *message
	err    error
	ended  chan struct{}
}

// Ask looks for a process at a path, and gets its descriptors. Nil without an error: nobody is there. Close must follow.
func Ask(path string, me Identity) (*Predecessor, error) {
	conn, err := dial(path)
	if conn == nil || err != nil {
		return nil, err
	}
	p := &Predecessor{path: path, line: &line{conn}, ended: make(chan struct{})}
	if err := p.ask(me); err != nil {
		_ = conn.Close()
		p.drop()
		return nil, fmt.Errorf("handover: %s: %w", path, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(p.ended)
		p.answer, _, p.err = p.line.receive(0)
	}()
	return p, nil
}

// dial connects; nil without an error is that nobody is there.
func dial(path string) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return conn, nil
}

func (p *Predecessor) ask(me Identity) (err error) {
	if p.PID, err = p.line.trusted(); err != nil {
		return err
	}
	if err := p.line.send(&message{Node: me.Node, Fleet: me.Fleet, Version: me.Version}, nil); err != nil {
		return err
	}
	answer, _, err := p.line.receive(answerTime)
	switch {
	case err != nil:
		return err
	case answer.Refused != "":
		return refusal(answer)
	case answer.Descriptors < 0 || answer.Descriptors > maxDescriptors:
		return fmt.Errorf("got %d descriptors, want at most %d", answer.Descriptors, maxDescriptors)
	}
	for range answer.Descriptors {
		m, file, err := p.line.receive(answerTime)
		if err != nil {
			return err
		}
		if file == nil {
			return fmt.Errorf("got no descriptor with %q", m.Kind)
		}
		p.Descriptors = append(p.Descriptors, file)
	}
	return nil
}

func refusal(m *message) error { return fmt.Errorf("the process there says: %s", m.Refused) }

// drop closes what nobody has taken.
func (p *Predecessor) drop() {
	for _, file := range p.Descriptors {
		_ = file.Close() // nobody uses it
	}
	p.Descriptors = nil
}

// Ended is closed when the predecessor has said something, or is gone: before Take that is nothing good.
func (p *Predecessor) Ended() <-chan struct{} { return p.ended }

// Take says that this process is ready, and returns when the predecessor takes nothing new any more. ErrGone: it is no longer
// there at all. Any other error: it goes on, and this process must not.
func (p *Predecessor) Take(ctx context.Context) error {
	// If it has gone or given up, its answer says so.
	sent := p.line.send(&message{Ready: true}, nil)
	select {
	case <-p.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case errors.Is(p.err, io.EOF), errors.Is(p.err, syscall.ECONNRESET):
		// One that lives takes the next who comes.
		conn, err := dial(p.path)
		if conn != nil {
			_ = conn.Close()
			return fmt.Errorf("handover: the process before has broken off: %w", p.err)
		}
		if err != nil {
			return err
		}
		return ErrGone
	case p.err != nil:
		return fmt.Errorf("handover: %w", errors.Join(p.err, sent))
	case p.answer.Refused != "":
		return fmt.Errorf("handover: %w", refusal(p.answer))
	case !p.answer.Yours:
		return errors.New("handover: got another message than that the place is free")
	}
	return nil
}

// Close ends the talk: a predecessor that Take has not reached goes on.
func (p *Predecessor) Close() {
	_ = p.line.conn.Close()
	<-p.ended
	p.drop()
}
