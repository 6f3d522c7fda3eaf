package crowd

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// item is one resource of a response. Its parts belong to the message.
type item struct {
	name  []byte
	value []byte // the resource itself, as in its Any
}

// response is as much of a DiscoveryResponse or a DeltaDiscoveryResponse as a subscriber needs.
type response struct {
	typeURL, version, nonce string
	items                   []item
	removed                 [][]byte
}

var errWire = errors.New("got bytes that are no message of the protocol")

// fields calls a function with each field of a message that is length-delimited; others are passed over.
func fields(m []byte, f func(number protowire.Number, value []byte) error) error {
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return errWire
		}
		m = m[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, m); n < 0 {
				return errWire
			}
			m = m[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(m)
		if n < 0 {
			return errWire
		}
		m = m[n:]
		if err := f(number, value); err != nil {
			return err
		}
	}
	return nil
}

// scanDelta reads a DeltaDiscoveryResponse into r, whose slices are used again.
func scanDelta(m []byte, r *response) error {
	*r = response{items: r.items[:0], removed: r.removed[:0]}
	return fields(m, func(number protowire.Number, value []byte) error {
		switch number {
		case 2: // resources
			var one item
			if err := scanResource(value, &one); err != nil {
				return err
			}
			r.items = append(r.items, one)
		case 4:
			r.typeURL = string(value)
		case 5:
			r.nonce = string(value)
		case 6:
			r.removed = append(r.removed, value)
		}
		return nil
	})
}

// scanResource reads a Resource: name (3), resource (2).
func scanResource(m []byte, one *item) error {
	return fields(m, func(number protowire.Number, value []byte) (err error) {
		switch number {
		case 2:
			one.value, err = anyValue(value)
		case 3:
			one.name = value
		}
		return err
	})
}

// scanSotW reads a DiscoveryResponse into r. Its resources bear no name beside them: every type that is served has it
// as its first field.
func scanSotW(m []byte, r *response) error {
	*r = response{items: r.items[:0], removed: r.removed[:0]}
	return fields(m, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			r.version = string(value)
		case 2: // resources
			inner, err := anyValue(value)
			if err != nil {
				return err
			}
			name, err := firstField(inner)
			if err != nil {
				return err
			}
			r.items = append(r.items, item{name: name, value: inner})
		case 4:
			r.typeURL = string(value)
		case 5:
			r.nonce = string(value)
		}
		return nil
	})
}

// anyValue is the value (2) of an Any.
func anyValue(m []byte) (inner []byte, err error) {
	err = fields(m, func(number protowire.Number, value []byte) error {
		if number == 2 {
			inner = value
		}
		return nil
	})
	return inner, err
}

// firstField is the value of field 1, if the message begins with it.
func firstField(m []byte) ([]byte, error) {
	number, kind, n := protowire.ConsumeTag(m)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return nil, errWire
	}
	value, n := protowire.ConsumeBytes(m[n:])
	if n < 0 {
		return nil, errWire
	}
	return value, nil
}

// request is as much of a DiscoveryRequest or a DeltaDiscoveryRequest as a subscriber says.
type request struct {
	typeURL, version, nonce string
	node                    []byte   // the Node, in the first of a stream
	names                   []byte   // state of the world: the names, encoded by appendNames
	subscribe, unsubscribe  []string // delta
}

func appendString(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

// appendNames encodes resource_names of a DiscoveryRequest.
func appendNames(b []byte, names []string) []byte {
	for _, name := range names {
		b = appendString(b, 3, name)
	}
	return b
}

func (r *request) sotw() []byte {
	var b []byte
	b = appendString(b, 1, r.version)
	if r.node != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), r.node)
	}
	b = append(b, r.names...)
	b = appendString(b, 4, r.typeURL)
	return appendString(b, 5, r.nonce)
}

func (r *request) delta() []byte {
	var b []byte
	if r.node != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), r.node)
	}
	b = appendString(b, 2, r.typeURL)
	for _, name := range r.subscribe {
		b = appendString(b, 3, name)
	}
	for _, name := range r.unsubscribe {
		b = appendString(b, 4, name)
	}
	return appendString(b, 6, r.nonce)
}
