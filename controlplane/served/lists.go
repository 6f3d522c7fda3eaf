package served

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// longList is from how many items on a list is shown by what differs in it.
const longList = 50

// leaveOutSame takes the items that two messages of one type have in common out of their long lists. What items are is told
// by their name, which all long lists have.
func leaveOutSame(a, b protoreflect.Message) {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !f.IsList() || f.Message() == nil || a.Get(f).List().Len() < longList || b.Get(f).List().Len() < longList {
			continue
		}
		old := map[string]protoreflect.Message{}
		each(a, f, func(item protoreflect.Message) { old[nameOf(item)] = item })
		same := map[string]bool{}
		each(b, f, func(item protoreflect.Message) {
			name := nameOf(item)
			was := old[name]
			same[name] = name != "" && was != nil && proto.Equal(was.Interface(), item.Interface())
		})
		only(a, f, func(item protoreflect.Message) bool { return !same[nameOf(item)] })
		only(b, f, func(item protoreflect.Message) bool { return !same[nameOf(item)] })
	}
}

// prune leaves out the items of lists that keep does not want, and those beyond most, which it counts.
func prune(m protoreflect.Message, keep func(list, name string) bool, most int, more *int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			list, shown := string(f.Name()), 0
			only(m, f, func(item protoreflect.Message) bool {
				prune(item, keep, most, more)
				if !keep(list, nameOf(item)) || list == "virtual_hosts" && empty(item, "routes") {
					return false
				}
				if shown++; shown > most {
					*more++
					return false
				}
				return true
			})
		default:
			prune(v.Message(), keep, most, more)
		}
		return true
	})
}

func each(m protoreflect.Message, f protoreflect.FieldDescriptor, do func(protoreflect.Message)) {
	list := m.Get(f).List()
	for i := range list.Len() {
		do(list.Get(i).Message())
	}
}

// only keeps some items of a list, in their order.
func only(m protoreflect.Message, f protoreflect.FieldDescriptor, want func(protoreflect.Message) bool) {
	if !m.Has(f) {
		return
	}
	list := m.Mutable(f).List()
	n := 0
	for i := range list.Len() {
		if item := list.Get(i); want(item.Message()) {
			list.Set(n, item)
			n++
		}
	}
	list.Truncate(n)
}

// nameOf is what `name` says in a message; "" if it has no such field.
func nameOf(m protoreflect.Message) string {
	f := m.Descriptor().Fields().ByName("name")
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return ""
	}
	return m.Get(f).String()
}

func empty(m protoreflect.Message, list protoreflect.Name) bool {
	f := m.Descriptor().Fields().ByName(list)
	return f != nil && f.IsList() && m.Get(f).List().Len() == 0
}
