package origin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// Body is the first n bytes of what every body consists of.
func Body(n int) []byte {
	const line = "0123456789abcdef0123456789ABCDEF\n"
	return bytes.Repeat([]byte(line), n/len(line)+1)[:n]
}

// answers are the answers by the size of their body, made once. One goroutine serves all.
var answers = map[int][]byte{}

func answer(size int) []byte {
	if a := answers[size]; a != nil {
		return a
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
	a := append([]byte(head), Body(size)...)
	answers[size] = a
	return a
}

// switching answers a request with Upgrade; what comes then is sent back.
var switching = []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")

// http1 is one connection: heads end at an empty line, bodies have a length or are chunked.
type http1 struct {
	head []byte // what has come of a head that is not whole
	left int    // bytes of the body that are to come
	size int    // of the answer
	// chunked: the body ends with the chunk of length 0; tail are its last five bytes so far.
	chunked bool
	tail    []byte
	// echo, if not nil, has taken over: the protocol was switched.
	echo *echo
}

func (h *http1) Readable(c *loop.Conn) error {
	if h.echo != nil {
		return h.echo.Readable(c)
	}
	n, err := c.Read(scratch[:])
	if err == loop.Again {
		return nil
	}
	if err != nil {
		return err
	}
	for data := scratch[:n]; len(data) > 0; {
		if data, err = h.take(c, data); err != nil {
			return err
		}
	}
	return nil
}

func (h *http1) Closed(*loop.Conn, error) {}

// take takes a part of the data, and returns the rest.
func (h *http1) take(c *loop.Conn, data []byte) ([]byte, error) {
	switch {
	case h.chunked:
		h.tail = append(h.tail, data...)
		h.tail = h.tail[max(0, len(h.tail)-7):]
		if bytes.HasSuffix(h.tail, []byte("\r\n0\r\n\r\n")) { // no request follows before its answer
			h.chunked, h.tail = false, h.tail[:0]
			return nil, h.reply(c)
		}
		return nil, nil
	case h.left > 0:
		n := min(h.left, len(data))
		if h.left -= n; h.left == 0 {
			return data[n:], h.reply(c)
		}
		return data[n:], nil
	}
	head, rest := data, []byte(nil)
	if len(h.head) > 0 {
		h.head = append(h.head, data...)
		head = h.head
	}
	end := bytes.Index(head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(h.head) == 0 {
			h.head = append(h.head, data...)
		}
		if len(h.head) > 64<<10 {
			return nil, errors.New("origin: head without an end")
		}
		return nil, nil
	}
	rest = head[end+4:]
	if err := h.read(head[:end+2]); err != nil {
		return nil, err
	}
	if value(head[:end+2], "upgrade: ") != nil {
		// Who measures sends nothing before the 101.
		h.echo = &echo{}
		_, err := c.Write(switching)
		return nil, err
	}
	if len(h.head) > 0 {
		rest, h.head = bytes.Clone(rest), h.head[:0]
	}
	if h.left == 0 && !h.chunked {
		return rest, h.reply(c)
	}
	return rest, nil
}

func (h *http1) reply(c *loop.Conn) error {
	_, err := c.Write(answer(h.size))
	return err
}

// read reads a head: the size that the path asks for, and how the body ends.
func (h *http1) read(head []byte) error {
	h.size = 128
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if _, path, ok := bytes.Cut(line, []byte(" /b/")); ok {
		digits, _, _ := bytes.Cut(path, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if err != nil {
			return fmt.Errorf("origin: path: %w", err)
		}
		h.size = n
	}
	if v := value(fields, "content-length: "); v != nil {
		n, err := strconv.Atoi(string(v))
		if err != nil {
			return fmt.Errorf("origin: length: %w", err)
		}
		h.left = n
	} else if v := value(fields, "transfer-encoding: "); v != nil {
		h.chunked = true
	}
	return nil
}

// value is that of a field whose name is given in lower case with ": ", without a map and without a copy.
func value(fields []byte, name string) []byte {
	for len(fields) > len(name) {
		line, rest, _ := bytes.Cut(fields, []byte("\r\n"))
		if len(line) > len(name) && line[0]|0x20 == name[0] && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return line[len(name):]
		}
		fields = rest
	}
	return nil
}
