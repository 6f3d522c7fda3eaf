package definition

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// judge runs the rules of the .proto files, and then those that they cannot say, over a message. What follows from a
// fault that is told already is not told.
func judge(d *decoder, m protoreflect.Message) {
	d.phase(func(report reporter) { d.rules(m, report) })
	d.phase(func(report reporter) { check(m.Interface(), report) })
}

// reporter takes a problem with a field.
type reporter func(field, code, message string)

// phase runs some checks, and drops what they say of fields in, under or above which an earlier phase found a fault.
func (d *decoder) phase(run func(reporter)) {
	d.told = d.faulty[:len(d.faulty):len(d.faulty)]
	run(func(field, code, message string) {
		for _, path := range d.told {
			if within(path, field) || within(field, path) {
				return
			}
		}
		d.add(d.at(field), field, code, message)
	})
}

// within tells whether a path is that of a field or of something in it.
func within(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (rest == "" || field == "" || rest[0] == '.' || rest[0] == '[')
}

// validator compiles the rules once.
var validator = sync.OnceValues(func() (protovalidate.Validator, error) { return protovalidate.New() })

// rules runs protovalidate, and says each violation as got and want.
func (d *decoder) rules(m protoreflect.Message, report reporter) {
	v, err := validator()
	if err == nil {
		err = v.Validate(m.Interface())
	}
	var violations *protovalidate.ValidationError
	switch {
	case err == nil:
	case errors.As(err, &violations):
		for _, violation := range violations.Violations {
			d.violation(m, violation, report)
		}
	default:
		report("", CodeInvalidValue, "the rules cannot be run: "+err.Error())
	}
}

// violation words one violation.
func (d *decoder) violation(m protoreflect.Message, v *protovalidate.Violation, report reporter) {
	at := resolve(m, v.Proto.GetField())
	id, message := v.Proto.GetRuleId(), v.Proto.GetMessage()
	switch {
	case at.oneof != nil:
		d.missingMember(at.oneof, at.path)
	case id == "required":
		report(at.path, CodeRequired, "got nothing, want "+Wanted(at.field))
	case id == "repeated.min_items":
		report(at.path, CodeRequired, "got nothing, want at least one")
	case id == "repeated.unique":
		list := at.value.List()
		first := map[string]bool{}
		for i := range list.Len() {
			if item := list.Get(i).String(); first[item] {
				report(itemPath(at.path, i), CodeRepeated, fmt.Sprintf("got %q twice, want each once", item))
			} else {
				first[item] = true
			}
		}
	case id == "string.max_len":
		report(at.path, CodeInvalidValue, fmt.Sprintf("got %d characters, want at most %d", utf8.RuneCountInString(at.value.String()), v.RuleValue.Uint()))
	case id == "string.not_contains":
		report(at.path, CodePath, fmt.Sprintf("got %q, want a path without %q: the query is no part of it", shorten(at.value.String()), v.RuleValue.String()))
	case at.message != nil: // a rule over the whole of it, in our words
		report(at.path, CodeExclusive, gotFields(at.message)+", "+message)
	case strings.HasPrefix(message, "want "): // a rule of ours
		report(at.path, CodeInvalidValue, fmt.Sprintf("got %q, %s", shorten(at.value.String()), message))
	case at.field.Kind() == protoreflect.StringKind:
		report(at.path, CodeInvalidValue, fmt.Sprintf("got %q, want %s", shorten(at.value.String()), Wanted(at.field)))
	default:
		report(at.path, CodeInvalidValue, fmt.Sprintf("got %s, want %s", at.value, Wanted(at.field)))
	}
}

// missingMember reports a oneof of which no member is written, unless one was meant to be.
func (d *decoder) missingMember(oneof protoreflect.OneofDescriptor, path string) {
	names := []string{}
	for i := range oneof.Fields().Len() {
		name := oneof.Fields().Get(i).JSONName()
		names = append(names, name)
		for _, told := range d.told {
			if within(told, fieldPath(path, name)) || within(path, told) {
				return
			}
		}
	}
	d.add(d.at(path), path, CodeExclusive, "got nothing, want one of "+strings.Join(names, ", "))
}

// place is where a violation is.
type place struct {
	path string
	// field and value are those at the path, a single item's if the path ends in one.
	field protoreflect.FieldDescriptor
	value protoreflect.Value
	// message is that at the path, if it is one.
	message protoreflect.Message
	// oneof is set if the violation is that none of its members is written; path is then its message's.
	oneof protoreflect.OneofDescriptor
}

// resolve follows a violation's path from a document's message.
func resolve(m protoreflect.Message, steps *validate.FieldPath) place {
	at := place{message: m}
	for _, step := range steps.GetElements() {
		fields := at.message.Descriptor()
		at.field = fields.Fields().ByName(protoreflect.Name(step.GetFieldName()))
		if at.field == nil {
			at.oneof = fields.Oneofs().ByName(protoreflect.Name(step.GetFieldName()))
			return at
		}
		at.path = fieldPath(at.path, at.field.JSONName())
		at.value = at.message.Get(at.field)
		at.message = nil
		switch subscript := step.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			at.path = itemPath(at.path, int(subscript.Index))
			at.value = at.value.List().Get(int(subscript.Index))
		case *validate.FieldPathElement_StringKey:
			at.path = keyPath(at.path, subscript.StringKey)
			at.field = at.field.MapValue()
			at.value = at.value.Map().Get(protoreflect.ValueOfString(subscript.StringKey).MapKey())
		}
		if message, ok := at.value.Interface().(protoreflect.Message); ok {
			at.message = message
		}
	}
	return at
}

// gotFields are the fields of a message that are written.
func gotFields(m protoreflect.Message) string {
	names := []string{}
	for _, fd := range fieldsInOrder(m.Descriptor()) {
		if m.Has(fd) {
			names = append(names, fd.JSONName())
		}
	}
	if len(names) == 0 {
		return "got none"
	}
	return "got " + strings.Join(names, ", ")
}
