package definition

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldPath is the path of a field of the message at path.
func fieldPath(path, name string) string {
	name = withoutPEM(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

func itemPath(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func keyPath(path, key string) string { return fmt.Sprintf("%s[%q]", path, withoutPEM(key)) }

// withoutPEM keeps a key that was pasted where a field's name belongs out of messages.
func withoutPEM(name string) string {
	const longestName = 60 // of a field there is, by far
	if len(name) > longestName && isPEM(name) {
		return "[redacted]"
	}
	return name
}

// mapping reads a mapping into a message. A key that cannot be read is passed over.
func (d *decoder) mapping(n *yaml.Node, m protoreflect.Message, path string) {
	members := map[protoreflect.FullName]protoreflect.FieldDescriptor{} // by oneof
	d.pairs(n, path, fieldPath, func(key, value *yaml.Node) {
		if path == "" && key.Value == "kind" {
			return
		}
		fd := d.field(key, m.Descriptor(), path)
		if fd == nil {
			return
		}
		at := fieldPath(path, fd.JSONName())
		d.positions[at] = d.position(value)
		if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if other := members[o.FullName()]; other != nil {
				d.node(key, at, CodeExclusive, fmt.Sprintf("got both %s and %s, want one of them", other.JSONName(), fd.JSONName()))
				return
			}
			members[o.FullName()] = fd
		}
		d.value(value, m, fd, at)
	})
}

// pairs calls read for each key of a mapping that is text, stands for the first time, and is followed by a value.
func (d *decoder) pairs(n *yaml.Node, path string, join func(path, key string) string, read func(key, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.ShortTag() == "!!merge" {
			if key.ShortTag() == "!!merge" || key.Kind == yaml.AliasNode || key.Anchor != "" {
				d.node(key, path, CodeAnchor, "got "+describeAnchor(key)+", want the fields written out: "+noAnchors)
			} else {
				d.node(key, path, CodeWrongType, "got "+describe(key)+" for a key, want text")
			}
			continue
		}
		if key.Style&yaml.TaggedStyle != 0 {
			d.node(key, path, CodeTag, fmt.Sprintf("got the tag %s on a key, want the key without a tag", key.Tag))
			continue
		}
		at := join(path, key.Value)
		if line, ok := first[key.Value]; ok {
			message := fmt.Sprintf("got it twice, want it once: it stands in line %d already", line)
			if at == "kind" {
				message += "; if another document begins here, write --- before it"
			}
			d.node(key, at, CodeDuplicateKey, message)
			continue
		}
		first[key.Value] = key.Line + d.line
		if d.sound(value, at) {
			read(key, value)
		}
	}
}

// sound refuses what no value of the language may be.
func (d *decoder) sound(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.node(n, path, CodeAnchor, "got "+describeAnchor(n)+", want the value written out: "+noAnchors)
	case n.Style&yaml.TaggedStyle != 0:
		d.node(n, path, CodeTag, fmt.Sprintf("got the tag %s, want the value without a tag", n.Tag))
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.node(n, path, CodeNull, "got nothing, want a value: leave the field out for its default")
	default:
		return true
	}
	return false
}

// field is the field of a key; nil, and a problem, if there is none.
func (d *decoder) field(key *yaml.Node, md protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(key.Value); fd != nil {
		return fd
	}
	at := fieldPath(path, key.Value)
	names := []string{}
	if path == "" {
		names = append(names, "kind")
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if string(fd.Name()) == key.Value || strings.EqualFold(fd.JSONName(), key.Value) {
			d.node(key, at, CodeSpelling, fmt.Sprintf("got %s, want %s", key.Value, fd.JSONName()))
			d.faulty = append(d.faulty, fieldPath(path, fd.JSONName()))
			return nil
		}
		names = append(names, fd.JSONName())
	}
	message := "got an unknown field, want one of " + strings.Join(names, ", ")
	switch near := Nearest(key.Value, names); {
	case Later(md.FullName(), key.Value) != "":
		message += ": " + Later(md.FullName(), key.Value)
	case path == "" && (key.Value == "apiVersion" || key.Value == "metadata" || key.Value == "spec"):
		message += ": there is no envelope, the fields stand beside kind and name"
	case near != "":
		message += fmt.Sprintf("; did you mean %s?", near)
		d.faulty = append(d.faulty, fieldPath(path, near))
	case len(names) == 0:
		message = "got an unknown field, want {}"
	}
	d.node(key, at, CodeUnknownField, message)
	return nil
}

// value reads the value of a field of any shape.
func (d *decoder) value(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	switch {
	case fd.IsMap():
		d.mapValue(n, m, fd, path)
	case fd.IsList():
		d.list(n, m, fd, path)
	case fd.Kind() == protoreflect.MessageKind:
		d.message(n, m.Mutable(fd).Message(), path)
	default:
		value, ok := d.scalar(n, fd, path)
		if !ok || !d.says(n, value, fd, path) {
			return
		}
		m.Set(fd, value)
	}
}

// says refuses the zero value of a field that cannot tell "not written" from "written as zero", unless zero is its
// default anyway: it would silently be given another value.
func (d *decoder) says(n *yaml.Node, value protoreflect.Value, fd protoreflect.FieldDescriptor, path string) bool {
	if fd.HasPresence() || fd.Kind() == protoreflect.BoolKind || fd.Kind() == protoreflect.Int32Kind ||
		!value.Equal(fd.Default()) || mayBeEmpty[fd.FullName()] {
		return true
	}
	d.node(n, path, CodeEmpty, fmt.Sprintf("got %s, want %s", describe(n), orLeaveOut(fd)))
	return false
}

func (d *decoder) list(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	if n.Kind != yaml.SequenceNode {
		remedy := ": begin each item with '- '"
		if n.Kind == yaml.ScalarNode && len(n.Value) < 40 {
			remedy = ": write [" + n.Value + "]"
		}
		d.node(n, path, CodeWrongType, "got "+describe(n)+", want a list"+remedy)
		return
	}
	if len(n.Content) == 0 && !mayBeEmpty[fd.FullName()] {
		d.node(n, path, CodeEmpty, "got an empty list, want "+orLeaveOut(fd))
		return
	}
	list := m.Mutable(fd).List()
	for i, item := range n.Content {
		at := itemPath(path, i)
		d.positions[at] = d.position(item)
		// An item that is wrong keeps its place, so that the paths of those behind it are right.
		if fd.Kind() == protoreflect.MessageKind {
			element := list.AppendMutable().Message()
			if d.sound(item, at) {
				d.message(item, element, at)
			}
			continue
		}
		value := list.NewElement() // not fd.Default(): a list has none
		if d.sound(item, at) {
			if read, ok := d.scalar(item, fd, at); ok {
				value = read
			}
		}
		list.Append(value)
	}
}

func (d *decoder) mapValue(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	if n.Kind != yaml.MappingNode {
		d.node(n, path, CodeWrongType, "got "+describe(n)+", want a mapping of key: value")
		return
	}
	values := m.Mutable(fd).Map()
	d.pairs(n, path, keyPath, func(key, value *yaml.Node) {
		at := keyPath(path, key.Value)
		d.positions[at] = d.position(value)
		if _, ok := d.scalar(key, fd.MapKey(), at); !ok {
			return
		}
		if read, ok := d.scalar(value, fd.MapValue(), at); ok {
			values.Set(protoreflect.ValueOfString(key.Value).MapKey(), read)
		}
	})
}

// message reads a message, or its short form.
func (d *decoder) message(n *yaml.Node, m protoreflect.Message, path string) {
	md := m.Descriptor()
	short, ok := ShortForms[md.FullName()]
	switch {
	case n.Kind == yaml.MappingNode:
		d.mapping(n, m, path)
	case ok && n.Kind == yaml.ScalarNode:
		fd := md.Fields().ByName(short)
		if value, ok := d.scalar(n, fd, path); ok && d.says(n, value, fd, path) {
			d.positions[fieldPath(path, fd.JSONName())] = d.position(n)
			m.Set(fd, value)
		}
	default:
		want := "a mapping"
		if md.Fields().Len() > 0 {
			want += " with " + fieldList(md)
		} else {
			want += ": write {}"
		}
		if ok {
			want += ", or text for its " + md.Fields().ByName(short).JSONName()
		}
		d.node(n, path, CodeWrongType, "got "+describe(n)+", want "+want)
	}
}

// fieldList are the names of a message's fields, in short.
func fieldList(md protoreflect.MessageDescriptor) string {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = md.Fields().Get(i).JSONName()
	}
	return strings.Join(names, ", ")
}
