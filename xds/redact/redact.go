// Package redact hides secrets in Envoy's messages, for dumps that people and logs see.
//
// In: any message. Out: a copy in which each field that Envoy's protos mark as sensitive reads "[redacted]", inside
// extensions too. It must not know which resources there are: the mark is udpa.annotations.sensitive.
package redact

import (
	udpa "github.com/cncf/xds/go/udpa/annotations"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Text stands where a secret was.
const Text = "[redacted]"

// Message returns a copy of m without its secrets. An extension whose type is not linked in cannot be looked into, and
// is hidden as a whole.
func Message(m proto.Message) proto.Message {
	out := proto.Clone(m)
	hide(out.ProtoReflect(), false)
	return out
}

// JSON renders m without its secrets, with the proto's own field names.
func JSON(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(Message(m))
}

// hide redacts in place; within a sensitive field, all strings and bytes.
func hide(m protoreflect.Message, sensitive bool) {
	// Unknown fields never show in JSON, but they do not belong into a copy that is free of secrets.
	m.SetUnknown(nil)
	if any, ok := m.Interface().(*anypb.Any); ok {
		hideAny(any, sensitive)
		return
	}
	if source, ok := m.Interface().(*corepb.DataSource); ok && sensitive && source.GetInlineBytes() != nil {
		// As a string, since bytes are base64 in JSON.
		source.Specifier = &corepb.DataSource_InlineString{InlineString: Text}
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		secret := sensitive || marked(f)
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				if f.MapValue().Message() != nil {
					hide(e.Message(), secret)
				} else if r, ok := redacted(f.MapValue(), secret); ok {
					v.Map().Set(k, r)
				}
				return true
			})
		case f.IsList():
			for i := range v.List().Len() {
				if f.Message() != nil {
					hide(v.List().Get(i).Message(), secret)
				} else if r, ok := redacted(f, secret); ok {
					v.List().Set(i, r)
				}
			}
		case f.Message() != nil:
			hide(v.Message(), secret)
		default:
			if r, ok := redacted(f, secret); ok {
				m.Set(f, r)
			}
		}
		return true
	})
}

// redacted is the value that stands for a secret of f's kind. Numbers are left: Envoy marks none.
func redacted(f protoreflect.FieldDescriptor, secret bool) (protoreflect.Value, bool) {
	if !secret {
		return protoreflect.Value{}, false
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(Text), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(Text)), true
	}
	return protoreflect.Value{}, false
}

// hideAny looks into an extension.
func hideAny(any *anypb.Any, sensitive bool) {
	if any.TypeUrl == "" {
		any.Value = nil
		return
	}
	inner, err := any.UnmarshalNew()
	if err == nil {
		hide(inner.ProtoReflect(), sensitive)
		any.Value, err = proto.MarshalOptions{Deterministic: true}.Marshal(inner)
		if err == nil {
			return
		}
	}
	// JSON needs a type that it can resolve: the real one is told as text.
	told, _ := anypb.New(wrapperspb.String("unknown type " + any.TypeUrl))
	any.TypeUrl, any.Value = told.GetTypeUrl(), told.GetValue()
}

// marked says whether Envoy's proto calls the field sensitive.
func marked(f protoreflect.FieldDescriptor) bool {
	sensitive, _ := proto.GetExtension(f.Options(), udpa.E_Sensitive).(bool)
	return sensitive
}
