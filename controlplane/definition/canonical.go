package definition

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// hash is of the canonical content of a document of a kind.
func hash(kind string, m protoreflect.Message) string {
	sum := sha256.Sum256([]byte(kind + canonical(m)))
	return hex.EncodeToString(sum[:16])
}

// canonical is a text that is equal for equal messages, in every version of the program: hashes of it are stored, which
// rules out proto.Marshal and protojson, whose bytes may change. A field that is added to a message later changes
// nothing as long as it is not set.
func canonical(m protoreflect.Message) string {
	var b strings.Builder
	writeCanonical(&b, m)
	return b.String()
}

func writeCanonical(b *strings.Builder, m protoreflect.Message) {
	b.WriteByte('{')
	for _, fd := range fieldsInOrder(m.Descriptor()) {
		if !m.Has(fd) {
			continue
		}
		b.WriteString(fd.JSONName())
		b.WriteByte(':')
		value := m.Get(fd)
		switch {
		case fd.IsMap():
			keys := []string{}
			for key := range value.Map().Range {
				keys = append(keys, key.String())
			}
			slices.Sort(keys)
			for _, key := range keys {
				b.WriteString(strconv.Quote(key))
				b.WriteByte('=')
				writeValue(b, fd.MapValue(), value.Map().Get(protoreflect.ValueOfString(key).MapKey()))
			}
		case fd.IsList():
			b.WriteByte('[')
			for i := range value.List().Len() {
				writeValue(b, fd, value.List().Get(i))
			}
			b.WriteByte(']')
		default:
			writeValue(b, fd, value)
		}
	}
	b.WriteByte('}')
}

func writeValue(b *strings.Builder, fd protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		writeCanonical(b, value.Message())
	case protoreflect.StringKind:
		b.WriteString(strconv.Quote(value.String()))
	case protoreflect.EnumKind:
		b.WriteString(strconv.Itoa(int(value.Enum())))
	default:
		b.WriteString(value.String())
	}
	b.WriteByte(',')
}

// fieldsInOrder are a message's fields in the order of their numbers.
func fieldsInOrder(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	fields := make([]protoreflect.FieldDescriptor, md.Fields().Len())
	for i := range fields {
		fields[i] = md.Fields().Get(i)
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return fields
}
