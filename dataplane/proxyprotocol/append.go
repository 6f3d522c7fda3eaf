package proxyprotocol

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// AppendV1 writes a header of version 1. Addresses of different families, or none, are UNKNOWN.
func AppendV1(b []byte, h Header) []byte {
	source, destination, ok := h.pair()
	b = append(b, lineStart...)
	if !ok {
		return append(b, "UNKNOWN\r\n"...)
	}
	b = append(b, "TCP4 "...)
	if source.Addr().Is6() {
		b[len(b)-2] = '6'
	}
	b = append(source.Addr().AppendTo(b), ' ')
	b = append(destination.Addr().AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(source.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(destination.Port()), 10)
	return append(b, "\r\n"...)
}

// AppendV2 writes a header of version 2. Addresses of different families, or none, are LOCAL.
func AppendV2(b []byte, h Header) []byte {
	source, destination, ok := h.pair()
	b = append(b, signature...)
	if !ok {
		return append(b, commandLocal, unspecified, 0, 0)
	}
	if source.Addr().Is4() {
		b = append(b, commandProxy, tcp4, 0, 12)
	} else {
		b = append(b, commandProxy, tcp6, 0, 36)
	}
	b = append(b, source.Addr().AsSlice()...)
	b = append(b, destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, destination.Port())
}

// pair is the addresses as they are written; false if there is no way to write both.
func (h Header) pair() (source, destination netip.AddrPort, ok bool) {
	plain := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	source, destination = plain(h.Source), plain(h.Destination)
	return source, destination, source.IsValid() && destination.IsValid() && source.Addr().Is4() == destination.Addr().Is4()
}
