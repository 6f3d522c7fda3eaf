package bootstrap

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// notSupported ends the reason of what is right for Envoy but not built here.
const notSupported = "not supported by sluice-proxy"

// maxRefusals is how many are told at once.
const maxRefusals = 20

// reader collects what is wrong with one bootstrap.
type reader struct {
	refusals []string
	// refused are the fields in refusals.
	refused []string
}

// refuse notes what is wrong with a field, once for it and all within it.
func (r *reader) refuse(field, format string, args ...any) {
	for _, f := range r.refused {
		if field == f || strings.HasPrefix(field, f+".") || strings.HasPrefix(field, f+"[") {
			return
		}
	}
	r.refused = append(r.refused, field)
	r.refusals = append(r.refusals, field+": "+fmt.Sprintf(format, args...))
}

func (r *reader) err() error {
	if len(r.refusals) == 0 {
		return nil
	}
	told := r.refusals
	if len(told) > maxRefusals {
		told = append(told[:maxRefusals:maxRefusals], fmt.Sprintf("and %d more", len(r.refusals)-maxRefusals))
	}
	return errors.New("bootstrap: " + strings.Join(told, "\nbootstrap: "))
}

// walk asks the table about every populated field of a message and of those in it.
func (r *reader) walk(t table, m proto.Message) { r.message(t, "", m.ProtoReflect()) }

func (r *reader) message(t table, path string, m protoreflect.Message) {
	name := m.Descriptor().FullName()
	if strings.HasPrefix(string(name), "google.protobuf.") && name != "google.protobuf.Any" {
		return // a duration or a wrapper: a value
	}
	row, known := t[name]
	if !known {
		r.refuse(path, "got a %s: %s", name, notSupported)
		return
	}
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		f := all.Get(i)
		if !m.Has(f) {
			continue
		}
		field := string(f.Name())
		if path != "" {
			field = path + "." + field
		}
		switch row[f.Name()] {
		case harmless, opaque:
		case taken:
			r.inside(t, field, f, m.Get(f))
		default:
			r.refuse(field, "%s", notSupported)
		}
	}
}

// inside walks the messages in a field.
func (r *reader) inside(t table, field string, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return
		}
		v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
			r.one(t, fmt.Sprintf("%s[%q]", field, k.String()), e.Message())
			return true
		})
	case f.Message() == nil:
	case f.IsList():
		for i := range v.List().Len() {
			r.one(t, at(field, i), v.List().Get(i).Message())
		}
	default:
		r.one(t, field, v.Message())
	}
}

// one walks a message, or what an extension holds.
func (r *reader) one(t table, field string, m protoreflect.Message) {
	extension, ok := m.Interface().(*anypb.Any)
	if !ok {
		r.message(t, field, m)
		return
	}
	inner, err := extension.UnmarshalNew()
	if err != nil {
		r.refuse(field, "%v", err)
		return
	}
	r.message(t, field, inner.ProtoReflect())
}
