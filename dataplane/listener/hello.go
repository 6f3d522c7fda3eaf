package listener

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Hello is what a client says first.
type Hello struct {
	// TLS tells that the first record is a TLS handshake; else the rest is empty.
	TLS bool
	// ServerName is SNI, in lower case; empty if there is none.
	ServerName string
	// ALPN are the protocols offered, in the client's order.
	ALPN []string
}

// MaxHello is how many bytes a ClientHello may take, records and all. Those of browsers take 2 KiB with post-quantum
// keys; RFC 8446 allows 64 KiB of each extension.
const MaxHello = 32 << 10

// errShort asks for more bytes.
var errShort = errors.New("more bytes needed")

const (
	recordHandshake  = 22
	clientHello      = 1
	maxRecord        = 1 << 14 // RFC 8446, 5.1
	extServerName    = 0
	extALPN          = 16
	hostName         = 0
	recordHeaderSize = 5
)

// ParseHello reads the first bytes of a connection. done is false if more bytes are needed to decide; an error means
// that it begins as TLS does and is not a ClientHello, or not one within MaxHello.
func ParseHello(b []byte) (h Hello, done bool, err error) {
	if len(b) == 0 {
		return h, false, nil
	}
	// No protocol in plaintext that we serve begins with this byte.
	if b[0] != recordHandshake {
		return h, true, nil
	}
	message, err := handshake(b)
	if err == errShort {
		if len(b) >= MaxHello {
			return h, true, fmt.Errorf("client hello: longer than %d bytes", MaxHello)
		}
		return h, false, nil
	}
	if err != nil {
		return h, true, fmt.Errorf("client hello: %w", err)
	}
	h.TLS = true
	if err := h.parse(message); err != nil {
		return Hello{TLS: true}, true, fmt.Errorf("client hello: %w", err)
	}
	return h, true, nil
}

// handshake joins the first handshake message out of its records (RFC 8446, 5.1): it may be cut anywhere.
func handshake(b []byte) ([]byte, error) {
	var joined []byte
	for {
		if len(b) < recordHeaderSize {
			// What is there must fit: a peer that is not TLS is not waited for.
			if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
				return nil, errors.New("not a TLS handshake record")
			}
			return nil, errShort
		}
		if b[0] != recordHandshake || b[1] != 3 {
			return nil, errors.New("not a TLS handshake record")
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > maxRecord {
			return nil, fmt.Errorf("record of %d bytes", n)
		}
		b = b[recordHeaderSize:]
		whole := len(b) >= n
		piece := b[:min(n, len(b))]
		if joined == nil {
			joined = piece[:len(piece):len(piece)]
		} else {
			joined = append(joined, piece...)
		}
		if len(joined) > 0 && joined[0] != clientHello {
			return nil, fmt.Errorf("handshake message %d, want client hello", joined[0])
		}
		if len(joined) >= 4 {
			size := int(joined[1])<<16 | int(joined[2])<<8 | int(joined[3])
			if size > MaxHello {
				return nil, fmt.Errorf("%d bytes, at most %d", size, MaxHello)
			}
			if len(joined) >= 4+size {
				return joined[4 : 4+size], nil
			}
		}
		if !whole {
			return nil, errShort
		}
		b = b[n:]
	}
}

// reader takes vectors off the front of a message; a failure sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint8() int {
	if v := r.take(1); v != nil {
		return int(v[0])
	}
	return 0
}

func (r *reader) uint16() int {
	if v := r.take(2); v != nil {
		return int(binary.BigEndian.Uint16(v))
	}
	return 0
}

// vector8 and vector16 are a length and so many bytes.
func (r *reader) vector8() *reader {
	n := r.uint8()
	return &reader{b: r.take(n), bad: r.bad}
}

func (r *reader) vector16() *reader {
	n := r.uint16()
	return &reader{b: r.take(n), bad: r.bad}
}

// parse reads RFC 8446, 4.1.2.
func (h *Hello) parse(message []byte) error {
	r := &reader{b: message}
	r.take(2 + 32) // legacy_version, random
	sessionID, ciphers, compression := r.vector8(), r.vector16(), r.vector8()
	if r.bad || len(sessionID.b) > 32 || len(ciphers.b) < 2 || len(ciphers.b)%2 != 0 || len(compression.b) < 1 {
		return errors.New("malformed")
	}
	if len(r.b) == 0 {
		return nil // TLS 1.2 without extensions
	}
	extensions := r.vector16()
	if extensions.bad || len(r.b) != 0 {
		return errors.New("malformed extensions")
	}
	seen := map[int]bool{}
	for len(extensions.b) > 0 {
		kind := extensions.uint16()
		body := extensions.vector16()
		if body.bad {
			return errors.New("malformed extension")
		}
		if seen[kind] {
			return fmt.Errorf("extension %d twice", kind)
		}
		seen[kind] = true
		var err error
		switch kind {
		case extServerName:
			h.ServerName, err = parseServerName(body)
		case extALPN:
			h.ALPN, err = parseALPN(body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseServerName reads RFC 6066, 3: one host name, and types that nobody has defined.
func parseServerName(body *reader) (string, error) {
	list := body.vector16()
	if list.bad || len(body.b) != 0 || len(list.b) == 0 {
		return "", errors.New("malformed server_name")
	}
	name, found := "", false
	for len(list.b) > 0 {
		kind := list.uint8()
		value := list.vector16()
		if value.bad {
			return "", errors.New("malformed server_name")
		}
		if kind != hostName {
			continue
		}
		if found {
			return "", errors.New("two server names")
		}
		if name, found = string(value.b), true; !validName(name) {
			return "", fmt.Errorf("server name %q", name)
		}
	}
	return strings.ToLower(name), nil
}

// validName refuses what no host name holds, and the final dot, which RFC 6066 excludes.
func validName(name string) bool {
	if name == "" || len(name) > 255 || name[len(name)-1] == '.' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '*' || c == '/' {
			return false
		}
	}
	return true
}

// parseALPN reads RFC 7301, 3.1.
func parseALPN(body *reader) ([]string, error) {
	list := body.vector16()
	if list.bad || len(body.b) != 0 || len(list.b) == 0 {
		return nil, errors.New("malformed application_layer_protocol_negotiation")
	}
	var names []string
	for len(list.b) > 0 {
		name := list.vector8()
		if name.bad || len(name.b) == 0 {
			return nil, errors.New("malformed application_layer_protocol_negotiation")
		}
		names = append(names, string(name.b))
	}
	return names, nil
}
