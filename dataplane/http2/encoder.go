package http2

import (
	"hash/maphash"
	"strings"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

const (
	// tableSize is the most that our HPACK tables hold, in bytes as RFC 7541, 4.1 counts them: the default, which
	// nginx, Envoy and browsers keep to.
	tableSize = 4096
	// entryOverhead is added for each field, in tables and in header lists (RFC 7541, 4.1; RFC 9113, 10.5.1).
	entryOverhead = 32
	maxEntries    = tableSize / entryOverhead
	// slots are for the fields that the encoder remembers; a connection's messages repeat about a dozen.
	slots = 32
)

// encoder writes field sections in HPACK (RFC 7541). hpack.Encoder keeps the strings it is given, and adds every field
// to its table: message's strings live only as long as their exchange, and most values that differ never come again.
// Here a field enters the table, as a copy, when it is met for the second time. Its owner's lock guards it.
type encoder struct {
	// size of max bytes is used by count entries; added counts all that ever were, and sizes holds theirs.
	max, size uint32
	count     int
	added     uint64
	sizes     [maxEntries]uint32
	// announce: a field section begins with the table's new size, and with smallest, which it had in between
	// (RFC 7541, 4.2).
	announce bool
	smallest uint32

	seen    [slots]uint64
	known   [slots]knownField
	scratch []byte
}

// knownField is a field that was added to the table as the number at; it may have been evicted since.
type knownField struct {
	at          uint64
	name, value string
}

var hashSeed = maphash.MakeSeed()

func (e *encoder) init() { e.max = tableSize }

// resize obeys the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) resize(peer uint32) {
	n := min(peer, tableSize)
	if n == e.max && !e.announce {
		return
	}
	if !e.announce || n < e.smallest {
		e.smallest = n
	}
	e.announce, e.max = true, n
	e.evict()
}

func (e *encoder) evict() {
	for e.size > e.max {
		e.size -= e.sizes[(e.added-uint64(e.count))%maxEntries]
		e.count--
	}
}

// begin is called before the first field of a section.
func (e *encoder) begin(dst []byte) []byte {
	if e.announce {
		e.announce = false
		if e.smallest < e.max {
			dst = appendInteger(dst, 0x20, 5, uint64(e.smallest))
		}
		dst = appendInteger(dst, 0x20, 5, uint64(e.max))
	}
	return dst
}

// field appends a field; its name is made lower case.
func (e *encoder) field(dst []byte, name, value string) []byte {
	name = e.lower(name)
	index, whole := static(name, value)
	if whole {
		return appendInteger(dst, 0x80, 7, index)
	}
	if secret(name, value) {
		// RFC 7541, 7.1.3: never in a table, here or further on.
		return appendLiteral(dst, 0x10, 4, index, name, value)
	}
	size := uint32(len(name) + len(value) + entryOverhead)
	if size > e.max/2 {
		return appendLiteral(dst, 0, 4, index, name, value)
	}
	h := maphash.String(hashSeed, name)*31 + maphash.String(hashSeed, value)
	slot := h % slots
	k := &e.known[slot]
	if k.at > 0 && k.value == value && k.name == name {
		if ago := e.added - k.at; ago < uint64(e.count) {
			return appendInteger(dst, 0x80, 7, staticFields+1+ago)
		}
	} else {
		if e.seen[slot] != h {
			e.seen[slot] = h
			return appendLiteral(dst, 0, 4, index, name, value)
		}
		*k = knownField{name: strings.Clone(name), value: strings.Clone(value)}
	}
	e.size += size
	e.sizes[e.added%maxEntries] = size
	e.added++
	e.count++
	e.evict()
	k.at = e.added
	dst = appendLiteral(dst, 0x40, 6, index, "", "")
	if index == 0 {
		dst = appendString(dst, name)
	}
	return appendString(dst, value)
}

// lower is a name as HTTP/2 spells it; valid until the next call.
func (e *encoder) lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			e.scratch = appendLower(e.scratch[:0], name)
			return unsafe.String(unsafe.SliceData(e.scratch), len(e.scratch))
		}
	}
	return name
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// secret tells the fields that a table would help to guess (RFC 7541, 7.1).
func secret(name, value string) bool {
	switch name {
	case "authorization", "proxy-authorization", "set-cookie":
		return true
	case "cookie":
		return len(value) < 20
	}
	return false
}

// appendInteger writes an integer with a prefix of n bits behind a pattern (RFC 7541, 5.1).
func appendInteger(dst []byte, pattern byte, n uint, i uint64) []byte {
	limit := uint64(1)<<n - 1
	if i < limit {
		return append(dst, pattern|byte(i))
	}
	dst = append(dst, pattern|byte(limit))
	for i -= limit; i >= 0x80; i >>= 7 {
		dst = append(dst, byte(i)|0x80)
	}
	return append(dst, byte(i))
}

// appendLiteral writes a field that is not found in a table (RFC 7541, 6.2), in plain bytes: Huffman's code would save
// a quarter of them, and cost more than they do. With pattern 0x40 only the index is written.
func appendLiteral(dst []byte, pattern byte, n uint, index uint64, name, value string) []byte {
	dst = appendInteger(dst, pattern, n, index)
	if pattern == 0x40 {
		return dst
	}
	if index == 0 {
		dst = appendInteger(dst, 0, 7, uint64(len(name)))
		dst = append(dst, name...)
	}
	dst = appendInteger(dst, 0, 7, uint64(len(value)))
	return append(dst, value...)
}

// appendString writes a string in the shorter of its two forms (RFC 7541, 5.2): it is sent once, and referred to.
func appendString(dst []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendInteger(dst, 0x80, 7, n), s)
	}
	return append(appendInteger(dst, 0, 7, uint64(len(s))), s...)
}

// forget empties the table; the next section announces it.
func (e *encoder) forget() {
	limit := e.max
	e.max = 0
	e.evict()
	e.max, e.announce, e.smallest = limit, true, 0
}
