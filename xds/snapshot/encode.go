package snapshot

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// The fields of the messages that carry resources, in envoy.service.discovery.v3 and google.protobuf.
const (
	fieldVersion  = 1 // Resource.version
	fieldResource = 2 // Resource.resource
	fieldName     = 3 // Resource.name
	fieldTypeURL  = 1 // Any.type_url
	fieldValue    = 2 // Any.value
)

// fill gives the resource its content.
func (r *Resource) fill(typeURL string, value []byte) {
	r.content = &anypb.Any{TypeUrl: typeURL, Value: value}
	r.encode()
	r.size = len(r.deltaHead) + r.AnySize()
}

// encode keeps what stands before the content in a message, so that it is not worked out for each stream.
func (r *Resource) encode() {
	content := r.Any()
	r.head = protowire.AppendTag(nil, fieldTypeURL, protowire.BytesType)
	r.head = protowire.AppendString(r.head, content.GetTypeUrl())
	r.head = protowire.AppendTag(r.head, fieldValue, protowire.BytesType)
	r.head = protowire.AppendVarint(r.head, uint64(len(content.GetValue())))
	any := len(r.head) + len(content.GetValue())

	head := protowire.AppendTag(nil, fieldVersion, protowire.BytesType)
	head = protowire.AppendString(head, r.Version)
	head = protowire.AppendTag(head, fieldName, protowire.BytesType)
	head = protowire.AppendString(head, r.Name)
	head = protowire.AppendTag(head, fieldResource, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(any))
	r.deltaHead = head
}

// AppendDelta appends the resource, serialized as a discovery.v3.Resource: Size bytes.
func (r *Resource) AppendDelta(b []byte) []byte {
	return r.AppendAny(append(b, r.deltaHead...))
}

// AppendAny appends Any, serialized: AnySize bytes.
func (r *Resource) AppendAny(b []byte) []byte {
	return append(append(b, r.head...), r.Any().GetValue()...)
}

// AnySize is the length of Any when serialized, in bytes.
func (r *Resource) AnySize() int { return len(r.head) + len(r.Any().GetValue()) }
