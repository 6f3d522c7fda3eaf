package server

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // is there to be asked for
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Resources are serialized once, and responses are put together from their bytes: the same thousands of resources go to each
// of many streams (rule 16). The resources are the snapshot's own bytes.

// The fields of DiscoveryResponse and DeltaDiscoveryResponse (envoy.service.discovery.v3).
const (
	fieldVersion = 1
	fieldTypeURL = 4
	fieldNonce   = 5
	fieldRemoved = 6 // delta only
)

// response is a message of one of the two protocols, to be serialized by codec.
type response struct {
	*message
	delta bool
}

// codec serializes responses, and whatever else gRPC's own does.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// copied is the size of a response, in bytes, from which on it is not copied together: gRPC gets the pieces. It keeps a
// response until the client has taken it, so a thousand clients that connect at once would need a thousand copies of the same
// thousands of resources (rule 17).
const copied = 16 << 10

// Marshal is part of encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(response)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := r.size()
	switch {
	case size >= copied:
		return r.pieces(), nil
	case mem.IsBelowBufferPoolingThreshold(size):
		return mem.BufferSlice{mem.SliceBuffer(r.append(make([]byte, 0, size)))}, nil
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	*b = r.append((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// requests are where requests are put together: gRPC's own pool has nothing between 32 KiB and 1 MiB, and one with a thousand
// names is in between.
var requests = func() mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(10, 12, 14, 15, 16, 17, 18, 19, 20)
	if err != nil {
		panic(err) // the sizes are sizes
	}
	return pool
}()

// Unmarshal is part of encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(requests)
	defer b.Free()
	return proto.Unmarshal(b.ReadOnlyData(), m)
}

func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) } // the tags of fields below 16 are one byte

func (r response) size() int {
	size := sizeBytes(len(r.version)) + sizeBytes(len(r.typeURL)) + sizeBytes(len(r.nonce))
	if r.all != nil {
		_, n := r.shared()
		size += n
	} else {
		r.each(func(piece mem.Buffer) { size += piece.Len() })
	}
	for _, name := range r.removed {
		size += sizeBytes(len(name))
	}
	return size
}

// each calls a function with the pieces that are the resources.
func (r response) each(yield func(mem.Buffer)) {
	for _, one := range r.resources {
		if r.delta {
			yield(one.Delta())
			continue
		}
		front, rest := one.Whole()
		yield(front)
		yield(rest)
	}
}

func (r response) append(b []byte) []byte {
	b = r.head(b)
	r.each(func(piece mem.Buffer) { b = append(b, piece.ReadOnlyData()...) })
	return r.tail(b)
}

// shared are the resources of a response that has all of a set.
func (r response) shared() (pieces mem.BufferSlice, size int) {
	if r.delta {
		return r.all.Delta()
	}
	return r.all.Whole()
}

// pieces is the response without a copy of the resources.
func (r response) pieces() mem.BufferSlice {
	n := len(r.resources)
	switch {
	case r.all != nil:
		shared, _ := r.shared()
		all := append(make(mem.BufferSlice, 0, len(shared)+2), mem.SliceBuffer(r.head(nil)))
		return append(append(all, shared...), mem.SliceBuffer(r.tail(nil)))
	case !r.delta:
		n *= 2
	}
	all := append(make(mem.BufferSlice, 0, n+2), mem.SliceBuffer(r.head(nil)))
	r.each(func(piece mem.Buffer) { all = append(all, piece) })
	return append(all, mem.SliceBuffer(r.tail(nil)))
}

// head and tail are what stands around the resources.
func (r response) head(b []byte) []byte {
	b = appendText(b, fieldVersion, r.version)
	b = appendText(b, fieldTypeURL, r.typeURL)
	return appendText(b, fieldNonce, r.nonce)
}

func (r response) tail(b []byte) []byte {
	for _, name := range r.removed {
		b = appendText(b, fieldRemoved, name)
	}
	return b
}

func appendText(b []byte, field protowire.Number, value string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, value)
}
