package load

import (
	"bytes"
	"fmt"
)

// Echo sends a message, and the next when all its bytes have come back.
type Echo struct {
	// Upgrade is a request that goes first, and must be answered by 101; nil is none.
	Upgrade []byte
	Message []byte
}

// Upgrade is the request to switch to WebSocket.
func Upgrade(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}

// Message is a WebSocket message of a client, of 126 to 65,535 bytes (RFC 6455, 5.2). Its mask is 0.
func Message(body []byte) []byte {
	return append([]byte{0x82, 0x80 | 126, byte(len(body) >> 8), byte(len(body)), 0, 0, 0, 0}, body...)
}

func (k Echo) session(by counter) session {
	return &echo{by: by, message: k.Message, upgrade: k.Upgrade}
}

type echo struct {
	by      counter
	message []byte
	left    int
	// upgrade is what is to be sent first, or nil; head is what has come of its answer.
	upgrade, head []byte
}

func (e *echo) start(t transport) error {
	if e.upgrade != nil {
		e.by.sent()
		_, err := t.Write(e.upgrade)
		return err
	}
	return e.send(t)
}

func (e *echo) send(t transport) error {
	e.by.sent()
	e.left = len(e.message)
	_, err := t.Write(e.message)
	return err
}

var status101 = []byte("HTTP/1.1 101 ")

// switched reads the answer to the upgrade, which counts as one message.
func (e *echo) switched(t transport, p []byte) error {
	e.head = append(e.head, p...)
	end := bytes.Index(e.head, headEnd)
	switch {
	case end < 0:
		return nil
	case !bytes.HasPrefix(e.head, status101) || end+len(headEnd) != len(e.head):
		return fmt.Errorf("answer %q, want status 101 and nothing more", e.head)
	}
	e.upgrade, e.head = nil, nil
	if e.by.answered() {
		return e.send(t)
	}
	return nil
}

func (e *echo) data(t transport, p []byte) error {
	if e.upgrade != nil {
		return e.switched(t, p)
	}
	at := len(e.message) - e.left
	if len(p) > e.left || p[0] != e.message[at] {
		return fmt.Errorf("echo: got %d bytes at %d that were not sent", len(p), at)
	}
	if e.left -= len(p); e.left == 0 && e.by.answered() {
		return e.send(t)
	}
	return nil
}
