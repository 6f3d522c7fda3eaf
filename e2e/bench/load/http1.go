package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// HTTP1 asks one request after another on each connection.
type HTTP1 struct {
	// Request is the whole of it, with its body. If Requests is not empty, each connection asks these instead, in turn.
	Request  []byte
	Requests [][]byte
	// Size is how many bytes the answer's body must have. Its length must be stated by Content-Length.
	Size int
}

// Get is the request of a GET, as a browser's would be, but shorter.
func Get(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
}

// Post is a request with a body.
func Post(host, path string, body []byte) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", path, host, len(body))
	return append([]byte(head), body...)
}

func (k HTTP1) session(by counter) session {
	return &http1{by: by, kind: k, turn: rand.IntN(max(1, len(k.Requests))), length: fmt.Appendf(nil, "\r\ncontent-length: %d\r\n", k.Size)}
}

type http1 struct {
	by     counter
	kind   HTTP1
	length []byte // the field that must be there
	head   []byte // what has come of a head that is not whole
	left   int    // bytes of the body that are to come
	body   bool   // in the body
	seen   bool   // the first answer's head has been looked at closely
	turn   int    // of kind.Requests, the next
}

func (h *http1) start(t transport) error {
	h.by.sent()
	request := h.kind.Request
	if n := len(h.kind.Requests); n > 0 {
		request = h.kind.Requests[h.turn]
		h.turn = (h.turn + 1) % n
	}
	_, err := t.Write(request)
	return err
}

var headEnd, status200 = []byte("\r\n\r\n"), []byte("HTTP/1.1 200 ")

func (h *http1) data(t transport, p []byte) error {
	if !h.body {
		if len(h.head) > 0 {
			h.head = append(h.head, p...)
			p = h.head
		}
		end := bytes.Index(p, headEnd)
		if end < 0 {
			if len(h.head) == 0 {
				h.head = append(h.head, p...)
			}
			return nil
		}
		if err := h.check(p[:end+2]); err != nil {
			return err
		}
		p, h.head = p[end+4:], h.head[:0]
		h.body, h.left = true, h.kind.Size
	}
	if h.left -= len(p); h.left > 0 {
		return nil
	}
	if h.left < 0 {
		return fmt.Errorf("%d bytes after an answer", -h.left)
	}
	h.body = false
	if h.by.answered() {
		return h.start(t)
	}
	return nil
}

// check looks at the status of every answer, and at the length of the first: the others come from the same origin.
func (h *http1) check(head []byte) error {
	if !bytes.HasPrefix(head, status200) {
		return fmt.Errorf("answer %q, want status 200", head)
	}
	if !h.seen && !bytes.Contains(bytes.ToLower(head), h.length) {
		return fmt.Errorf("answer %q, want %q", head, h.length)
	}
	h.seen = true
	return nil
}
