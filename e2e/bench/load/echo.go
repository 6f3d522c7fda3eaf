package load

import "fmt"

// Echo sends a message, and the next when all its bytes have come back.
type Echo struct{ Message []byte }

func (k Echo) session(by counter) session { return &echo{by: by, message: k.Message} }

type echo struct {
	by      counter
	message []byte
	left    int
}

func (e *echo) start(t transport) error {
	e.by.sent()
	e.left = len(e.message)
	_, err := t.Write(e.message)
	return err
}

func (e *echo) data(t transport, p []byte) error {
	at := len(e.message) - e.left
	if len(p) > e.left || p[0] != e.message[at] {
		return fmt.Errorf("echo: got %d bytes at %d that were not sent", len(p), at)
	}
	if e.left -= len(p); e.left == 0 && e.by.answered() {
		return e.start(t)
	}
	return nil
}
