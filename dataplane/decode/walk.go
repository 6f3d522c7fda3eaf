package decode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// walker asks the table about every populated and every unknown field.
type walker struct {
	*decoder
	// within is the type of the resource: some messages mean one thing in a listener and another in a cluster.
	within protoreflect.FullName
	// path is where the walk stands; it is joined only for a refusal.
	path []step
}

// step is a field, an element of a list ("[3]") or of a map ("["key"]").
type step struct {
	name  protoreflect.Name
	index int
	key   string
	// inMap says that key is set; it may be empty.
	inMap bool
}

// at joins the path.
func (w *walker) at() string {
	var b strings.Builder
	for i, s := range w.path {
		switch {
		case s.inMap:
			b.WriteString("[" + quote(s.key) + "]")
		case s.name == "":
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(string(s.name))
		}
	}
	return b.String()
}

func (w *walker) push(s step) { w.path = append(w.path, s) }
func (w *walker) pop()        { w.path = w.path[:len(w.path)-1] }

// message walks one message that the table knows.
func (w *walker) message(m protoreflect.Message) {
	w.unknown(m)
	rules := lookup(w.within, m.Descriptor().FullName())
	fields := m.Descriptor().Fields()
	// In the order of the descriptor, so that equal input gives equal text.
	for i := range fields.Len() {
		f := fields.Get(i)
		rule := rules[f.Name()]
		if !m.Has(f) {
			if rule != nil && rule.Required {
				w.push(step{name: f.Name()})
				got := show(f, m.Get(f))
				if f.Message() != nil {
					got = "none"
				}
				w.refuse(w.at(), "got %s, want %s: %s", got, oneOf(rule.Values), rule.Note)
				w.pop()
			}
			continue
		}
		w.push(step{name: f.Name()})
		w.field(m, f, rule)
		w.pop()
	}
}

// field judges one populated field. A nil rule is refused.
func (w *walker) field(m protoreflect.Message, f protoreflect.FieldDescriptor, rule *Field) {
	value := m.Get(f)
	switch {
	case rule == nil || rule.Support == Refused:
		w.refuseField(f, value, rule)
	case rule.Support == Harmless:
	case len(rule.Extensions) > 0:
		w.extensions(m, f, value, rule)
	case len(rule.Values) > 0 && f.IsList():
		for i := range value.List().Len() {
			w.push(step{index: i})
			w.value(showOne(f, value.List().Get(i)), rule)
			w.pop()
		}
	case len(rule.Values) > 0:
		w.value(show(f, value), rule)
	case f.IsMap() || f.Message() == nil:
	case f.IsList():
		for i := range value.List().Len() {
			w.push(step{index: i})
			w.inner(value.List().Get(i).Message())
			w.pop()
		}
	default:
		w.inner(value.Message())
	}
}

// value wants one of the rule's.
func (w *walker) value(got string, rule *Field) {
	if !slices.Contains(rule.Values, got) {
		w.refuse(w.at(), "got %s, want %s: %s", got, oneOf(rule.Values), notSupported)
	}
}

// inner walks a message within a message. Protobuf's own (durations, wrappers) are values: only what nobody knows is
// looked for.
func (w *walker) inner(m protoreflect.Message) {
	if m.Descriptor().ParentFile().Package() != "google.protobuf" {
		w.message(m)
		return
	}
	w.unknown(m)
}

// refuseField says that a field is not built, with its value if that is short.
func (w *walker) refuseField(f protoreflect.FieldDescriptor, value protoreflect.Value, rule *Field) {
	note := notSupported
	if rule != nil && rule.Note != "" {
		note += " (" + rule.Note + ")"
	}
	if got := show(f, value); got != "" {
		w.refuse(w.at(), "got %s: %s", got, note)
		return
	}
	w.refuse(w.at(), "%s", note)
}

// extensions unpacks a field of type Any, or a map of them.
func (w *walker) extensions(m protoreflect.Message, f protoreflect.FieldDescriptor, value protoreflect.Value, rule *Field) {
	if !f.IsMap() {
		w.extension(m, value.Message(), rule)
		return
	}
	var keys []string
	value.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	for _, key := range keys {
		w.push(step{key: key, inMap: true})
		w.extension(nil, value.Map().Get(protoreflect.ValueOfString(key).MapKey()).Message(), rule)
		w.pop()
	}
}

// extension unpacks one Any and walks it. owner is the message that names the extension, if one does.
func (w *walker) extension(owner, packed protoreflect.Message, rule *Field) {
	extension, ok := packed.Interface().(*anypb.Any)
	if !ok {
		w.refuse(w.at(), "got a dynamic message, want an Any")
		return
	}
	w.unknown(packed)
	typeName := protoreflect.FullName(extension.GetTypeUrl()[strings.LastIndexByte(extension.GetTypeUrl(), '/')+1:])
	known := slices.IndexFunc(rule.Extensions, func(e Extension) bool { return e.Type == typeName })
	if known < 0 {
		w.refuseExtension(owner, typeName, rule)
		return
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(typeName)
	if err != nil {
		w.refuse(w.at(), "type %s is not linked in", typeName)
		return
	}
	inner := mt.New()
	if err := unmarshal(extension.GetValue(), inner.Interface()); err != nil {
		w.refuse(w.at(), "%v", err)
		return
	}
	w.opened[extension] = inner.Interface()
	w.message(inner)
	w.validate(w.at(), inner.Interface())
}

// refuseExtension names the extension as people do: by its name, where that is Envoy's own, else with its type.
func (w *walker) refuseExtension(owner protoreflect.Message, typeName protoreflect.FullName, rule *Field) {
	var want []string
	for _, e := range rule.Extensions {
		want = append(want, e.Name)
	}
	at, got := w.at(), string(typeName)
	if got == "" {
		got = "no type"
	}
	if owner != nil {
		if f := owner.Descriptor().Fields().ByName("name"); f != nil && f.Kind() == protoreflect.StringKind {
			at = strings.TrimSuffix(at, "."+string(w.path[len(w.path)-1].name))
			if name := owner.Get(f).String(); strings.HasPrefix(name, "envoy.") && !slices.Contains(want, name) {
				got = shorten(name, maxQuoted)
			} else if name != "" {
				got = quote(name) + " (" + shorten(got, 2*maxQuoted) + ")"
			}
		}
	}
	w.refuse(at, "got %s, want %s: %s", got, oneOf(want), notSupported)
}

// unknown refuses what this proxy's protos do not know: fields of a newer Envoy, or removed ones of an older.
func (w *walker) unknown(m protoreflect.Message) {
	for rest := m.GetUnknown(); len(rest) > 0; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			w.refuse(w.at(), "malformed unknown field of %s", m.Descriptor().FullName())
			return
		}
		rest = rest[n:]
		at := "unknown field number " + strconv.Itoa(int(number))
		if len(w.path) > 0 {
			at = w.at() + "." + at
		}
		w.refuse(at, "%s knows no such field: %s", m.Descriptor().FullName(), notSupported)
	}
}

// show renders a short value: scalars, wrappers of them, and the keys of maps. Empty is "nothing short to show".
func show(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.IsMap():
		var keys []string
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, quote(k.String()))
			return true
		})
		slices.Sort(keys)
		return strings.Join(keys[:min(3, len(keys))], ", ")
	case f.IsList():
		return ""
	}
	return showOne(f, v)
}

// showOne renders a value, or one element of a list.
func showOne(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.Enum() != nil:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case f.Message() != nil:
		inner := f.Message()
		if inner.ParentFile().Path() != "google/protobuf/wrappers.proto" {
			return ""
		}
		value := inner.Fields().ByName("value")
		return showOne(value, v.Message().Get(value))
	case f.Kind() == protoreflect.StringKind:
		return quote(v.String())
	case f.Kind() == protoreflect.BytesKind:
		return ""
	}
	return fmt.Sprint(v.Interface())
}
