// Package schema is the language as a JSON Schema (draft 2020-12), for completion and checks in editors.
//
// In: the descriptors of the .proto files, their rules and comments. Out: one schema for one document. It accepts what
// definition accepts; the reverse holds as far as a schema can say it: `sluice validate` has the last word.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/definition/docs"
)

// object is a JSON object whose keys are printed in the order in which they were set.
type object struct {
	keys   []string
	values map[string]any
}

func (o *object) set(key string, value any) *object {
	if o.values == nil {
		o.values = map[string]any{}
	}
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
	return o
}

// MarshalJSON keeps the order.
func (o *object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, key := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(o.values[key]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Generate is the schema, indented, with a line break at the end.
func Generate() ([]byte, error) {
	definitions := &object{}
	names, choices := []string{}, []any{}
	for _, kind := range definition.Kinds {
		names = append(names, kind.Name)
		choices = append(choices, ref(kind.Name))
		addMessage(definitions, kind.New().ProtoReflect().Descriptor(), kind.Name)
	}
	root := (&object{}).
		set("$schema", "https://json-schema.org/draft/2020-12/schema").
		set("title", "Sluice definitions, sluice.v1").
		set("type", "object").
		set("required", []string{"kind", "name"}).
		set("properties", (&object{}).set("kind", (&object{}).set("enum", names).set("description", "The kind of the document."))).
		set("oneOf", choices).
		set("$defs", definitions)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return out.Bytes(), nil
}

func ref(name string) *object { return (&object{}).set("$ref", "#/$defs/"+name) }

// addMessage adds a message, and all those below it, to the definitions. kind is set for a document.
func addMessage(definitions *object, md protoreflect.MessageDescriptor, kind string) {
	name := string(md.Name())
	if definitions.values[name] != nil {
		return
	}
	message := (&object{}).set("type", "object")
	definitions.set(name, message)
	if text := docs.Comment(md.FullName()); text != "" {
		message.set("description", text)
	}
	properties, required := &object{}, []string{}
	if kind != "" {
		properties.set("kind", (&object{}).set("const", kind))
		required = append(required, "kind")
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		properties.set(fd.JSONName(), field(definitions, fd))
		if rules, err := protovalidate.ResolveFieldRules(fd); err == nil && (rules.GetRequired() || rules.GetRepeated().GetMinItems() > 0) {
			required = append(required, fd.JSONName())
		}
	}
	if len(required) > 0 {
		message.set("required", required)
	}
	message.set("properties", properties).set("additionalProperties", false)
	for i := range md.Oneofs().Len() {
		oneof := md.Oneofs().Get(i)
		if oneof.IsSynthetic() {
			continue
		}
		members := []any{}
		for j := range oneof.Fields().Len() {
			members = append(members, (&object{}).set("required", []string{oneof.Fields().Get(j).JSONName()}))
		}
		if rules, err := protovalidate.ResolveOneofRules(oneof); err != nil || !rules.GetRequired() {
			members = append(members, (&object{}).set("not", (&object{}).set("anyOf", slices.Clone(members))))
		}
		message.set("oneOf", members)
	}
}

// field is the schema of a field, whatever its shape.
func field(definitions *object, fd protoreflect.FieldDescriptor) *object {
	schema := &object{}
	switch rules, _ := protovalidate.ResolveFieldRules(fd); {
	case fd.IsMap():
		values := (&object{}).set("type", "string")
		if fd.MapValue().Kind() == protoreflect.Uint32Kind {
			low, high := definition.Range(fd.MapValue())
			values = (&object{}).set("type", "integer").set("minimum", low).set("maximum", high)
		}
		schema.set("type", "object").set("additionalProperties", values)
	case fd.IsList():
		schema.set("type", "array").set("items", value(definitions, fd))
		if !definition.MayBeEmpty(fd) {
			schema.set("minItems", 1)
		}
		if rules.GetRepeated().GetUnique() {
			schema.set("uniqueItems", true)
		}
	default:
		schema = value(definitions, fd)
	}
	text := docs.Comment(fd.FullName())
	if fd.Kind() == protoreflect.EnumKind {
		for i := range fd.Enum().Values().Len() {
			if v := fd.Enum().Values().Get(i); v.Number() != 0 {
				text += fmt.Sprintf("\n\n%s: %s", v.Name(), docs.Comment(fd.Enum().FullName().Append(v.Name())))
			}
		}
	}
	if text != "" {
		schema.set("description", text)
	}
	return schema
}

// value is the schema of one value.
func value(definitions *object, fd protoreflect.FieldDescriptor) *object {
	schema := &object{}
	rules := definition.Rules(fd)
	switch fd.Kind() {
	case protoreflect.MessageKind:
		addMessage(definitions, fd.Message(), "")
		name := string(fd.Message().Name())
		if _, ok := definition.ShortForms[fd.Message().FullName()]; ok {
			return schema.set("anyOf", []any{(&object{}).set("type", "string"), ref(name)})
		}
		return ref(name)
	case protoreflect.BoolKind:
		return schema.set("type", "boolean")
	case protoreflect.EnumKind:
		words := []string{}
		for i := range fd.Enum().Values().Len() {
			if v := fd.Enum().Values().Get(i); v.Number() != 0 {
				words = append(words, string(v.Name()))
			}
		}
		return schema.set("enum", words)
	case protoreflect.StringKind:
		return text(schema, fd, rules)
	case protoreflect.DoubleKind:
		return schema.set("type", "number").set("minimum", rules.GetDouble().GetGte()).set("maximum", rules.GetDouble().GetLte())
	}
	if in := rules.GetUint32().GetIn(); len(in) > 0 {
		words := []uint32{}
		for _, v := range in {
			if v != 0 {
				words = append(words, v)
			}
		}
		return schema.set("enum", words)
	}
	low, high := definition.Range(fd)
	return schema.set("type", "integer").set("minimum", low).set("maximum", high)
}

func text(schema *object, fd protoreflect.FieldDescriptor, rules *validate.FieldRules) *object {
	words := []string{}
	for _, word := range rules.GetString().GetIn() {
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) > 0 {
		return schema.set("enum", words)
	}
	schema.set("type", "string")
	if n := rules.GetString().GetMaxLen(); n > 0 {
		schema.set("maxLength", n)
	}
	switch pattern := pattern(rules); {
	case pattern != "":
		schema.set("pattern", pattern)
	case !fd.HasPresence() && !fd.IsList() && !definition.MayBeEmpty(fd) && !fd.ContainingMessage().IsMapEntry():
		schema.set("minLength", 1)
	}
	return schema
}

// pattern is the regular expression that a text must match; "" if there is none.
func pattern(rules *validate.FieldRules) string {
	for _, cel := range rules.GetCel() {
		if p := fromCEL(cel.GetExpression()); p != "" {
			return p
		}
	}
	if rules.GetString().GetPrefix() == "/" {
		return "^/[^?#]*$"
	}
	for _, extension := range []protoreflect.ExtensionType{sluicev1.E_Name, sluicev1.E_Duration, sluicev1.E_Host, sluicev1.E_Size} {
		if rules.GetString() == nil || !proto.HasExtension(rules.GetString(), extension) {
			continue
		}
		options := extension.TypeDescriptor().Options()
		predefined, _ := proto.GetExtension(options, validate.E_Predefined).(*validate.PredefinedRules)
		for _, cel := range predefined.GetCel() {
			if p := fromCEL(cel.GetExpression()); p != "" {
				return p
			}
		}
	}
	return ""
}

var (
	matches = regexp.MustCompile(`this\.matches\('((?:[^'\\]|\\.)*)'\)`)
	equals  = regexp.MustCompile(`this == '([^']+)'`)
	escaped = regexp.MustCompile(`\\(.)`)
)

// fromCEL reads the regular expression of a rule of ours, which is a disjunction of comparisons and one match.
func fromCEL(expression string) string {
	m := matches.FindStringSubmatch(expression)
	if m == nil {
		return ""
	}
	alternatives := []string{}
	for _, equal := range equals.FindAllStringSubmatch(expression, -1) {
		alternatives = append(alternatives, "^"+regexp.QuoteMeta(equal[1])+"$")
	}
	return strings.Join(append(alternatives, escaped.ReplaceAllString(m[1], "$1")), "|")
}
