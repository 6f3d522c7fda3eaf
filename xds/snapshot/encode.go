package snapshot

import (
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// The fields of the messages that carry resources, in envoy.service.discovery.v3 and google.protobuf.
const (
	fieldResources = 2 // DiscoveryResponse.resources, DeltaDiscoveryResponse.resources
	fieldVersion   = 1 // Resource.version
	fieldResource  = 2 // Resource.resource
	fieldName      = 3 // Resource.name
	fieldTypeURL   = 1 // Any.type_url
	fieldValue     = 2 // Any.value
)

// fill gives the resource its content: its bytes, as they stand in a response of delta, are made once. Its Any is the end of
// them, and a response of state of the world has no more of them than that, so that each is in memory once.
func (r *Resource) fill(typeURL string, value []byte) {
	head := protowire.AppendTag(nil, fieldTypeURL, protowire.BytesType)
	head = protowire.AppendString(head, typeURL)
	head = protowire.AppendTag(head, fieldValue, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(value)))
	any := len(head) + len(value)

	named := protowire.AppendTag(nil, fieldVersion, protowire.BytesType)
	named = protowire.AppendString(named, r.Version)
	named = protowire.AppendTag(named, fieldName, protowire.BytesType)
	named = protowire.AppendString(named, r.Name)
	named = protowire.AppendTag(named, fieldResource, protowire.BytesType)
	named = protowire.AppendVarint(named, uint64(any))
	r.size = len(named) + any

	field := func(size int) []byte {
		b := protowire.AppendTag(nil, fieldResources, protowire.BytesType)
		return protowire.AppendVarint(b, uint64(size))
	}
	front := field(r.size)
	b := make([]byte, 0, len(front)+r.size)
	b = append(append(append(append(b, front...), named...), head...), value...)
	r.content = &anypb.Any{TypeUrl: typeURL, Value: b[len(b)-len(value):]}
	r.delta = mem.SliceBuffer(b)
	r.whole = [2]mem.Buffer{mem.SliceBuffer(field(any)), mem.SliceBuffer(b[len(b)-any:])}
}

// chunk is the size that Set.Delta's pieces have at most, in bytes, but for larger resources: an HTTP/2 frame.
const chunk = 16 << 10

// Delta is all resources as fields of a DeltaDiscoveryResponse, and their size in bytes. It is put together when it is first asked
// for, in few pieces, since thousands for each of a thousand streams take their time. Nobody may change it.
func (s *Set) Delta() (pieces mem.BufferSlice, size int) {
	return s.delta.of(s.all, func(r *Resource) []mem.Buffer { return []mem.Buffer{r.delta} })
}

// Whole is as Delta, as fields of a DiscoveryResponse.
func (s *Set) Whole() (pieces mem.BufferSlice, size int) {
	return s.whole.of(s.all, func(r *Resource) []mem.Buffer { return r.whole[:] })
}

// together is a set in few pieces.
type together struct {
	once   sync.Once
	pieces mem.BufferSlice
	size   int
}

func (t *together) of(all []*Resource, parts func(*Resource) []mem.Buffer) (mem.BufferSlice, int) {
	t.once.Do(func() {
		var piece []byte
		for _, r := range all {
			size := 0
			for _, part := range parts(r) {
				size += part.Len()
			}
			t.size += size
			if len(piece)+size > cap(piece) {
				if len(piece) > 0 {
					t.pieces = append(t.pieces, mem.SliceBuffer(piece))
				}
				piece = make([]byte, 0, max(chunk, size))
			}
			for _, part := range parts(r) {
				piece = append(piece, part.ReadOnlyData()...)
			}
		}
		if len(piece) > 0 {
			t.pieces = append(t.pieces, mem.SliceBuffer(piece))
		}
	})
	return t.pieces, t.size
}

// Delta is the resource as the field of a DeltaDiscoveryResponse. Nobody may change its bytes.
func (r *Resource) Delta() mem.Buffer { return r.delta }

// Whole is Any as the field of a DiscoveryResponse, in two pieces. Nobody may change their bytes.
func (r *Resource) Whole() (front, rest mem.Buffer) { return r.whole[0], r.whole[1] }
