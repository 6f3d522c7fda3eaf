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
	earlier := d.faulty[:len(d.faulty):len(d.faulty)]
	run(func(field, code, message string) {
		for _, path := range earlier {
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
	path, oneof, parent := pathOf(m, v.Proto.GetField())
	if oneof != nil {
		d.missingMember(oneof, parent, report)
		return
	}
	fd, id := v.FieldDescriptor, v.Proto.GetRuleId()
	got := gotValue(v.FieldValue, fd)
	switch {
	case id == "required":
		report(path, CodeRequired, "got nothing, want "+wanted(fd))
	case id == "repeated.min_items":
		report(path, CodeRequired, "got nothing, want at least one")
	case id == "repeated.unique":
		list := v.FieldValue.List()
		first := map[string]bool{}
		for i := range list.Len() {
			if item := list.Get(i).String(); first[item] {
				report(itemPath(path, i), CodeRepeated, fmt.Sprintf("got %q twice, want each once", item))
			} else {
				first[item] = true
			}
		}
	case id == "string.max_len":
		report(path, CodeInvalidValue, fmt.Sprintf("got %d characters, want at most %d", utf8.RuneCountInString(v.FieldValue.String()), v.RuleValue.Uint()))
	case id == "string.not_contains":
		report(path, CodePath, fmt.Sprintf("got %s, want a path without %q: the query is no part of it", got, v.RuleValue.String()))
	case fd == nil || !v.FieldValue.IsValid() || fd.Kind() == protoreflect.MessageKind:
		// A rule over a whole message: its words are ours.
		report(path, CodeExclusive, gotFields(parent)+", "+v.Proto.GetMessage())
	case strings.HasPrefix(v.Proto.GetMessage(), "want "):
		report(path, CodeInvalidValue, "got "+got+", "+v.Proto.GetMessage())
	default:
		report(path, CodeInvalidValue, "got "+got+", want "+wanted(fd))
	}
}

// missingMember reports a oneof of which no member is written, unless one was meant to be.
func (d *decoder) missingMember(oneof protoreflect.OneofDescriptor, path string, report reporter) {
	names := []string{}
	for i := range oneof.Fields().Len() {
		name := oneof.Fields().Get(i).JSONName()
		names = append(names, name)
		for _, faulty := range d.faulty {
			if within(faulty, fieldPath(path, name)) {
				return
			}
		}
	}
	d.add(d.at(path), path, CodeExclusive, "got nothing, want one of "+strings.Join(names, ", "))
}

// pathOf is a violation's path as written in YAML. Where the path ends at a oneof, oneof is that, and parent the path of
// its message; else parent describes the message at the path, if it is one, for gotFields.
func pathOf(m protoreflect.Message, steps *validate.FieldPath) (path string, oneof protoreflect.OneofDescriptor, parent string) {
	md := m.Descriptor()
	current := m
	for _, step := range steps.GetElements() {
		fd := md.Fields().ByName(protoreflect.Name(step.GetFieldName()))
		if fd == nil {
			return path, md.Oneofs().ByName(protoreflect.Name(step.GetFieldName())), path
		}
		path = fieldPath(path, fd.JSONName())
		var next protoreflect.Message
		switch subscript := step.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			path = itemPath(path, int(subscript.Index))
			if fd.Kind() == protoreflect.MessageKind {
				next = current.Get(fd).List().Get(int(subscript.Index)).Message()
			}
		case *validate.FieldPathElement_StringKey:
			path = keyPath(path, subscript.StringKey)
		default:
			if fd.Kind() == protoreflect.MessageKind && !fd.IsList() && !fd.IsMap() {
				next = current.Get(fd).Message()
			}
		}
		if next == nil {
			return path, nil, ""
		}
		current, md = next, next.Descriptor()
	}
	return path, nil, written(current)
}

// written are the names of the fields of a message that are set.
func written(m protoreflect.Message) string {
	names := []string{}
	for _, fd := range fieldsInOrder(m.Descriptor()) {
		if m.Has(fd) {
			names = append(names, fd.JSONName())
		}
	}
	return strings.Join(names, ", ")
}

func gotFields(names string) string {
	if names == "" {
		return "got none"
	}
	return "got " + names
}

// gotValue is a value for "got …".
func gotValue(value protoreflect.Value, fd protoreflect.FieldDescriptor) string {
	switch {
	case !value.IsValid() || fd == nil:
		return "nothing"
	case fd.Kind() == protoreflect.StringKind:
		if text, ok := value.Interface().(string); ok {
			return fmt.Sprintf("%q", shorten(text))
		}
	case fd.Kind() == protoreflect.EnumKind:
		return "another"
	}
	return value.String()
}
