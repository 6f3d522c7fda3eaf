// Package proxyprotocol reads and writes the header by which a proxy tells the next one, ahead of a connection's first
// byte, who the client is: versions 1 (a line) and 2 (binary).
//
// In: bytes that a connection brought. Out: addresses, and how many bytes the header has. It must not know sockets, nor
// who may be believed. https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// MaxLength is how long a header may be, in bytes. Version 1 has 107 at most; version 2 could have 65551, of which
// nobody needs that many.
const MaxLength = 4096

const (
	maxLine   = 107
	lineStart = "PROXY "
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// fixed is the length of version 2's part that is always there.
	fixed = 16
)

// Version 2's commands, families with their protocols, and the one TLV that is looked at.
const (
	commandLocal = 0x20
	commandProxy = 0x21

	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21

	typeCRC32C = 0x03
)

// ErrNone is Parse's error for bytes that begin no header.
var ErrNone = errors.New("proxy protocol: no header")

// Header is what a header says. Both addresses are zero if it says nothing of them (LOCAL, UNKNOWN): then those of the
// connection itself hold.
type Header struct{ Source, Destination netip.AddrPort }

// Parse reads the header that bytes begin with, and returns its length. It is 0 without an error if more bytes must come
// first; MaxLength bytes are always enough. ErrNone says that there is no header; other errors, that it is malformed or
// of a kind that is not for TCP over IP.
func Parse(b []byte) (h Header, length int, err error) {
	switch {
	case starts(b, lineStart):
		if len(b) < len(lineStart) {
			return h, 0, nil
		}
		return parseLine(b)
	case starts(b, signature):
		if len(b) < fixed {
			return h, 0, nil
		}
		return parseBinary(b)
	}
	return h, 0, ErrNone
}

// starts tells whether bytes begin with a text, as far as they go.
func starts(b []byte, text string) bool {
	n := min(len(b), len(text))
	return string(b[:n]) == text[:n]
}

// parseLine reads version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n".
func parseLine(b []byte) (h Header, length int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if end < 0 {
		if len(b) >= maxLine {
			return h, 0, fmt.Errorf("proxy protocol: got no end of line within %d bytes", maxLine)
		}
		return h, 0, nil
	}
	line, ok := strings.CutSuffix(string(b[:end]), "\r")
	if !ok || strings.ContainsRune(line, '\r') {
		return h, 0, errors.New("proxy protocol: got a lone CR or LF")
	}
	words := strings.Split(line[len(lineStart):], " ")
	if words[0] == "UNKNOWN" {
		return h, end + 1, nil // whatever follows means nothing
	}
	if words[0] != "TCP4" && words[0] != "TCP6" || len(words) != 5 {
		return h, 0, fmt.Errorf("proxy protocol: got %q, want TCP4 or TCP6, two addresses and two ports, or UNKNOWN", line)
	}
	if h.Source, err = address(words[0] == "TCP6", words[1], words[3]); err == nil {
		h.Destination, err = address(words[0] == "TCP6", words[2], words[4])
	}
	if err != nil {
		return Header{}, 0, fmt.Errorf("proxy protocol: %w", err)
	}
	return h, end + 1, nil
}

func address(ipv6 bool, ip, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Zone() != "" || a.Is6() != ipv6 {
		return netip.AddrPort{}, fmt.Errorf("got address %q, want one of the family that is named", ip)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(n, 10) {
		return netip.AddrPort{}, fmt.Errorf("got port %q, want 0 to 65535", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// parseBinary reads version 2, of which the fixed part is there.
func parseBinary(b []byte) (h Header, length int, err error) {
	command, family := b[12], b[13]
	length = fixed + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command != commandLocal && command != commandProxy:
		return h, 0, fmt.Errorf("proxy protocol: got version and command %#x, want %#x or %#x", command, commandLocal, commandProxy)
	case command == commandProxy && family != tcp4 && family != tcp6: // as Envoy; the protocol leaves it free for AF_UNSPEC
		return h, 0, fmt.Errorf("proxy protocol: got family and protocol %#x, want TCP over IPv4 (%#x) or IPv6 (%#x)", family, tcp4, tcp6)
	case length > MaxLength:
		return h, 0, fmt.Errorf("proxy protocol: got a header of %d bytes, want %d at most", length, MaxLength)
	case len(b) < length:
		return h, 0, nil
	}
	rest := b[fixed:length]
	if command == commandLocal {
		// The sender speaks for itself: whatever follows means nothing.
		return h, length, nil
	}
	size := 4
	if family == tcp6 {
		size = 16
	}
	if len(rest) < 2*size+4 {
		return h, 0, fmt.Errorf("proxy protocol: got %d bytes of addresses, want %d", len(rest), 2*size+4)
	}
	source, _ := netip.AddrFromSlice(rest[:size])
	destination, _ := netip.AddrFromSlice(rest[size : 2*size])
	ports := rest[2*size:]
	if err := extras(b[:length], fixed+2*size+4); err != nil {
		return h, 0, err
	}
	h.Source = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:]))
	return h, length, nil
}

// extras walks the TLVs, which must fill the header. None is used, but a sum must be right.
func extras(header []byte, at int) error {
	for at < len(header) {
		if len(header)-at < 3 {
			return errors.New("proxy protocol: got a TLV without a length")
		}
		n := int(binary.BigEndian.Uint16(header[at+1:]))
		value := at + 3
		if n > len(header)-value {
			return fmt.Errorf("proxy protocol: got a TLV of %d bytes, where %d are left", n, len(header)-value)
		}
		if header[at] == typeCRC32C {
			if n != 4 || !sumIsRight(header, value) {
				return errors.New("proxy protocol: got a sum (CRC32C) that is not the header's")
			}
		}
		at = value + n
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumIsRight compares the sum that stands in a header with that of the header, in which it counts as 0.
func sumIsRight(header []byte, at int) bool {
	var none [4]byte
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, none[:])
	sum = crc32.Update(sum, castagnoli, header[at+4:])
	return sum == binary.BigEndian.Uint32(header[at:])
}
