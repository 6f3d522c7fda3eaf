// Package docs is the documentation of the language: the comments of its .proto files, by kind and field.
//
// In: a path such as Route.rules.timeout. Out: what the field is, takes and means, for a terminal, and the bare comments
// for the JSON Schema. It must not know any document.
package docs

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// descriptor is a FileDescriptorSet with comments, which generated Go code does not carry. `make generate` writes it.
//
//go:embed descriptor.binpb
var descriptor []byte

var comments = sync.OnceValue(func() map[protoreflect.FullName]string {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(descriptor, &set); err != nil {
		panic(fmt.Sprintf("docs: descriptor.binpb: %v", err)) // embedded: a test would have seen it
	}
	found := map[protoreflect.FullName]string{}
	for _, file := range set.GetFile() {
		leading := map[string]string{}
		for _, location := range file.GetSourceCodeInfo().GetLocation() {
			leading[fmt.Sprint(location.GetPath())] = location.GetLeadingComments()
		}
		note := func(name protoreflect.FullName, path ...int32) {
			if text := tidy(leading[fmt.Sprint(path)]); text != "" {
				found[name] = text
			}
		}
		for i, message := range file.GetMessageType() {
			name := protoreflect.FullName(file.GetPackage() + "." + message.GetName())
			at := int32(i)
			note(name, 4, at)
			for j, field := range message.GetField() {
				note(name.Append(protoreflect.Name(field.GetName())), 4, at, 2, int32(j))
			}
			for j, oneof := range message.GetOneofDecl() {
				note(name.Append(protoreflect.Name(oneof.GetName())), 4, at, 8, int32(j))
			}
			for j, enum := range message.GetEnumType() {
				enumName := name.Append(protoreflect.Name(enum.GetName()))
				note(enumName, 4, at, 4, int32(j))
				for k, value := range enum.GetValue() {
					// A value's full name is that of a sibling of its enum; here it stands below it.
					note(enumName.Append(protoreflect.Name(value.GetName())), 4, at, 4, int32(j), 2, int32(k))
				}
			}
		}
	}
	return found
})

// Comment is the comment of a message, a field, a oneof or an enum of the language, without line breaks other than those
// between paragraphs; of an enum's value by the enum's full name and the value's.
func Comment(name protoreflect.FullName) string { return comments()[name] }

// tidy joins the lines of each paragraph.
func tidy(comment string) string {
	paragraphs := strings.Split(strings.TrimSpace(comment), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// files are the .proto files of the language, for the test that descriptor.binpb is that of the Go code.
var files = []protoreflect.FileDescriptor{
	sluicev1.File_sluice_v1_certificate_proto, sluicev1.File_sluice_v1_circuitbreaker_proto, sluicev1.File_sluice_v1_gateway_proto,
	sluicev1.File_sluice_v1_route_proto, sluicev1.File_sluice_v1_retry_proto, sluicev1.File_sluice_v1_rules_proto, sluicev1.File_sluice_v1_service_proto, sluicev1.File_sluice_v1_test_proto,
}
