package features

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// Lack is something that a resource has and a proxy does not take.
type Lack struct {
	// Field is "Cluster.dns_lookup_family", or with its value, "Cluster.type EDS"; or the type of an extension.
	Field string
	// Extension: Field is the type of an extension.
	Extension bool
	// Path is where it stands in the resource.
	Path string
}

// maxLacks is how many are told of one resource.
const maxLacks = 16

// Lacks are what the resource has that is not taken: each Field once, where it stands first, at most 16. The resource is one
// that was made here: what cannot be read is an error.
func (t *Taken) Lacks(resource *anypb.Any) ([]Lack, error) {
	if t.table == nil && t.extensions == nil {
		return nil, nil
	}
	m, err := resource.UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	w := &walker{taken: t, within: m.ProtoReflect().Descriptor().FullName()}
	w.message(m.ProtoReflect())
	return w.lacks, nil
}

// walker asks the table about every populated field, as dataplane/decode does.
type walker struct {
	taken  *Taken
	within protoreflect.FullName
	path   []string
	lacks  []Lack
}

func (w *walker) lack(field string) { w.add(Lack{Field: field}) }

func (w *walker) lackExtension(a *anypb.Any) {
	w.add(Lack{Field: string(a.MessageName()), Extension: true})
}

func (w *walker) add(l Lack) {
	if len(w.lacks) < maxLacks && !slices.ContainsFunc(w.lacks, func(o Lack) bool { return o.Field == l.Field }) {
		l.Path = strings.ReplaceAll(strings.Join(w.path, "."), ".[", "[")
		w.lacks = append(w.lacks, l)
	}
}

func (w *walker) at(step string, do func()) {
	w.path = append(w.path, step)
	do()
	w.path = w.path[:len(w.path)-1]
}

// rules are those of a message; with extensions alone every field is taken.
func (w *walker) rules(d protoreflect.MessageDescriptor) (rules Message, all bool) {
	if w.taken.table == nil {
		return nil, true
	}
	rules, ok := w.taken.table[Key(w.within, d.FullName())]
	if !ok {
		rules = w.taken.table[Key("", d.FullName())]
	}
	return rules, false
}

func (w *walker) message(m protoreflect.Message) {
	d := m.Descriptor()
	if a, ok := m.Interface().(*anypb.Any); ok {
		w.open(a)
		return
	}
	if d.ParentFile().Package() == "google.protobuf" {
		return
	}
	rules, all := w.rules(d)
	fields := d.Fields()
	for i := range fields.Len() { // in order, so that equal input gives equal text
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		w.at(string(f.Name()), func() { w.field(m, f, rules, all) })
	}
	for rest := m.GetUnknown(); len(rest) > 0; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return
		}
		rest = rest[n:]
		if _, ok := rules[number]; !ok && !all {
			w.lack(short(d) + "." + strconv.Itoa(int(number)))
		}
	}
}

func (w *walker) field(m protoreflect.Message, f protoreflect.FieldDescriptor, rules Message, all bool) {
	rule, ok := rules[f.Number()]
	value, name := m.Get(f), short(m.Descriptor())+"."+string(f.Name())
	switch {
	case !ok && !all:
		w.lack(name)
		return
	case rule.Skip, f.IsMap() && !all && len(rule.Types) == 0:
		return
	}
	if len(rule.Values) > 0 {
		each(f, value, func(_ string, v protoreflect.Value, f protoreflect.FieldDescriptor) {
			if text := render(f, v); !slices.Contains(rule.Values, text) {
				w.lack(name + " " + text)
			}
		})
		return
	}
	each(f, value, func(step string, v protoreflect.Value, f protoreflect.FieldDescriptor) {
		if f.Message() == nil {
			return
		}
		inner := func() { w.message(v.Message()) }
		if a, ok := v.Message().Interface().(*anypb.Any); ok && !all {
			inner = func() { w.extension(a, rule.Types) }
		}
		if step != "" {
			w.at(step, inner)
			return
		}
		inner()
	})
}

// extension is an Any of a field that may hold some types.
func (w *walker) extension(a *anypb.Any, types []protoreflect.FullName) {
	switch {
	case len(types) == 0: // it is not looked into
		return
	case !slices.Contains(types, a.MessageName()):
		w.lackExtension(a)
		return
	}
	w.open(a)
}

// open walks what an Any holds.
func (w *walker) open(a *anypb.Any) {
	if w.taken.extensions != nil && !w.taken.extensions[a.MessageName()] {
		w.lackExtension(a)
		return
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(a.MessageName())
	if err != nil {
		return // it was not made here
	}
	inner := mt.New()
	if proto.Unmarshal(a.GetValue(), inner.Interface()) == nil {
		w.message(inner)
	}
}

// each calls with the value, or with every one of a list or a map, in order.
func each(f protoreflect.FieldDescriptor, v protoreflect.Value, do func(step string, v protoreflect.Value, f protoreflect.FieldDescriptor)) {
	switch {
	case f.IsList():
		for i := range v.List().Len() {
			do("["+strconv.Itoa(i)+"]", v.List().Get(i), f)
		}
	case f.IsMap():
		var keys []protoreflect.MapKey
		v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool { keys = append(keys, k); return true })
		slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			do(fmt.Sprintf("[%q]", k.String()), v.Map().Get(k), f.MapValue())
		}
	default:
		do("", v, f)
	}
}

// render is a value as Field.Values has it.
func render(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.Enum() != nil:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case f.Message() != nil:
		value := f.Message().Fields().ByName("value")
		if value == nil || f.Message().ParentFile().Path() != "google/protobuf/wrappers.proto" {
			return ""
		}
		return render(value, v.Message().Get(value))
	case f.Kind() == protoreflect.StringKind:
		return strconv.Quote(v.String())
	case f.Kind() == protoreflect.BytesKind:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// short is a message's name without its package: "RouteAction.HashPolicy".
func short(d protoreflect.MessageDescriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}
