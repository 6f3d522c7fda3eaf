package server

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // is there to be asked for
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Resources are serialized once, and responses are put together from their bytes: the same thousands of resources go to each
// of many streams (rule 16).

// The fields of DiscoveryResponse and DeltaDiscoveryResponse (envoy.service.discovery.v3).
const (
	fieldVersion   = 1
	fieldResources = 2
	fieldTypeURL   = 4
	fieldNonce     = 5
	fieldRemoved   = 6 // delta only
)

// response is a message of one of the two protocols, to be serialized by codec.
type response struct {
	*message
	delta bool
}

// codec serializes responses, and whatever else gRPC's own does.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal is part of encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(response)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := r.size()
	if mem.IsBelowBufferPoolingThreshold(size) {
		return mem.BufferSlice{mem.SliceBuffer(r.append(make([]byte, 0, size)))}, nil
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	*b = r.append((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) } // the tags of fields below 16 are one byte

func (r response) size() int {
	size := sizeBytes(len(r.version)) + sizeBytes(len(r.typeURL)) + sizeBytes(len(r.nonce))
	for _, one := range r.resources {
		if r.delta {
			size += sizeBytes(one.Size())
		} else {
			size += sizeBytes(one.AnySize())
		}
	}
	for _, name := range r.removed {
		size += sizeBytes(len(name))
	}
	return size
}

func (r response) append(b []byte) []byte {
	text := func(field protowire.Number, value string) {
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendString(b, value)
	}
	text(fieldVersion, r.version)
	for _, one := range r.resources {
		b = protowire.AppendTag(b, fieldResources, protowire.BytesType)
		if r.delta {
			b = protowire.AppendVarint(b, uint64(one.Size()))
			b = one.AppendDelta(b)
		} else {
			b = protowire.AppendVarint(b, uint64(one.AnySize()))
			b = one.AppendAny(b)
		}
	}
	text(fieldTypeURL, r.typeURL)
	text(fieldNonce, r.nonce)
	for _, name := range r.removed {
		text(fieldRemoved, name)
	}
	return b
}
