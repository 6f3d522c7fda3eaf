package definition

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// Kind is one kind of document.
type Kind struct {
	Name string
	// New makes an empty message of the kind.
	New func() proto.Message
}

// Kinds are the kinds, in the order in which a reader meets them.
var Kinds = []Kind{
	{"Gateway", func() proto.Message { return &sluicev1.Gateway{} }},
	{"Route", func() proto.Message { return &sluicev1.Route{} }},
	{"Service", func() proto.Message { return &sluicev1.Service{} }},
	{"Certificate", func() proto.Message { return &sluicev1.Certificate{} }},
	{"TrustBundle", func() proto.Message { return &sluicev1.TrustBundle{} }},
	{"Test", func() proto.Message { return &sluicev1.Test{} }},
}

// reservedKinds come in a later version of the language.
var reservedKinds = []string{"Policy", "Fleet", "Scope", "ForwardProxy"}

// ShortForms are the messages that may be written as a string, and the field that the string is of.
var ShortForms = map[protoreflect.FullName]protoreflect.Name{
	"sluice.v1.Endpoint": "address",
	"sluice.v1.Socket":   "path",
}

// later are fields and values that the design has and this version has not, with what to say of them.
var later = map[protoreflect.FullName]string{
	"sluice.v1.Listener.use":     "policies are not supported yet",
	"sluice.v1.Route.use":        "policies are not supported yet",
	"sluice.v1.Rule.use":         "policies are not supported yet",
	"sluice.v1.Listener.HTTP3":   "HTTP/3 is not supported yet",
	"sluice.v1.Certificate.acme": "automatic certificates are not supported yet",
}

// Later says of a field of a message, or of a value of an enum within it, that the design has it and this version has
// not; "" if it is simply unknown.
func Later(message protoreflect.FullName, name string) string {
	return later[message+"."+protoreflect.FullName(name)]
}

// kindOf is the kind of a name, nil if there is none.
func kindOf(name string) *Kind {
	for i := range Kinds {
		if Kinds[i].Name == name {
			return &Kinds[i]
		}
	}
	return nil
}

// MayBeEmpty tells whether nothing is a value of its own for a list or a text, not the default.
func MayBeEmpty(fd protoreflect.FieldDescriptor) bool { return mayBeEmpty[fd.FullName()] }

// mayBeEmpty are the lists and texts for which nothing is a value of its own, not the default.
var mayBeEmpty = map[protoreflect.FullName]bool{
	"sluice.v1.Service.endpoints":       true, // a Service that answers 503
	"sluice.v1.Gateway.description":     true,
	"sluice.v1.Route.description":       true,
	"sluice.v1.Service.description":     true,
	"sluice.v1.Certificate.description": true,
	"sluice.v1.TrustBundle.description": true,
	"sluice.v1.Test.description":        true,
}
