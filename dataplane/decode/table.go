package decode

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Support is what this proxy does with a field.
type Support int

// The kinds of support. What the table does not name is refused.
const (
	// Refused fields are not built: a resource that sets one is not used.
	Refused Support = iota
	// Implemented fields do what Envoy does with them.
	Implemented
	// Harmless fields change nothing that a client, an upstream or an operator of this proxy could rely on.
	Harmless
)

// String is the word for people.
func (s Support) String() string { return [...]string{"refused", "implemented", "harmless"}[s] }

// Field is what this proxy does with one field of Envoy's API.
type Field struct {
	// Message is the full name of the message, "envoy.config.cluster.v3.Cluster", and Name the field's.
	Message protoreflect.FullName
	Name    protoreflect.Name
	// Within is the type of the resource, where the field means something else in another; empty is all.
	Within  protoreflect.FullName
	Support Support
	// Values are the only ones taken; empty is all.
	Values []string
	// Required: unset is refused too, since what Envoy takes then is not in Values.
	Required bool
	// Extensions are what the field, an Any, may hold.
	Extensions []Extension
	// Note says why a field is harmless, or how this proxy differs.
	Note string
}

// Extension is one of Envoy's, by the name that people use and by the type that decides.
type Extension struct {
	Name string
	Type protoreflect.FullName
}

// messageRules are the rules for one message.
type messageRules struct {
	message protoreflect.FullName
	within  protoreflect.FullName
	fields  []Field
}

// Constructors keep the tables readable.
func yes(name protoreflect.Name) Field { return Field{Name: name, Support: Implemented} }
func only(name protoreflect.Name, values ...string) Field {
	return Field{Name: name, Support: Implemented, Values: values}
}
func must(name protoreflect.Name, value, note string) Field {
	return Field{Name: name, Support: Implemented, Values: []string{value}, Required: true, Note: note}
}
func harmless(name protoreflect.Name, why string) Field {
	return Field{Name: name, Support: Harmless, Note: why}
}
func holds(name protoreflect.Name, extensions ...Extension) Field {
	return Field{Name: name, Support: Implemented, Extensions: extensions}
}

// tables is everything this proxy knows of Envoy's API.
var tables = slices.Concat(listenerTable, tlsTable, httpTable, tcpTable, accessLogTable, routeTableTable, retryTable, clusterTable, healthTable, balancingTable, dnsTable, endpointTable, coreTable)

// index finds the rules of a message. Built once, read-only after.
var index = sync.OnceValue(func() map[rulesKey]map[protoreflect.Name]*Field {
	out := map[rulesKey]map[protoreflect.Name]*Field{}
	for _, t := range tables {
		fields := map[protoreflect.Name]*Field{}
		for i := range t.fields {
			t.fields[i].Message, t.fields[i].Within = t.message, t.within
			fields[t.fields[i].Name] = &t.fields[i]
		}
		out[rulesKey{t.within, t.message}] = fields
	}
	return out
})

type rulesKey struct{ within, message protoreflect.FullName }

// lookup returns the rules of a message in a resource; nil refuses every field.
func lookup(within, message protoreflect.FullName) map[protoreflect.Name]*Field {
	if rules, ok := index()[rulesKey{within, message}]; ok {
		return rules
	}
	return index()[rulesKey{"", message}]
}

// Table tells, for documents, what this proxy does with each field of every message that it looks into: the refused
// ones are listed too. In the order of the tables, and of the fields in Envoy's protos.
func Table() []Field {
	rules := index()
	var out []Field
	for _, t := range tables {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(t.message)
		if err != nil {
			continue
		}
		fields := d.(protoreflect.MessageDescriptor).Fields()
		for i := range fields.Len() {
			name := fields.Get(i).Name()
			if f := rules[rulesKey{t.within, t.message}][name]; f != nil {
				out = append(out, *f)
				continue
			}
			out = append(out, Field{Message: t.message, Within: t.within, Name: name})
		}
	}
	return out
}
