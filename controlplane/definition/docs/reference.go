package docs

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// WriteReference is the whole language as one page of Markdown: each kind, and each message below it where it is first
// met. `make golden` writes it to docs/reference.md.
func WriteReference(w io.Writer) error {
	r := &reference{seen: map[protoreflect.FullName]bool{}}
	r.line("# Reference of the language")
	r.line("")
	r.line("Every kind and field, as `sluice docs` prints them too. [The language](language.md) tells how they are meant to be used.")
	r.line("This page is made from the comments of `api/sluice/v1/*.proto` by `make golden`: edit those.")
	r.line("")
	for _, kind := range Kinds() {
		r.line("- [%s](#%s): %s", kind.Name, strings.ToLower(kind.Name), kind.Text)
	}
	for _, kind := range definition.Kinds {
		r.message(kind.New().ProtoReflect().Descriptor(), "##")
	}
	_, err := io.WriteString(w, r.b.String())
	return err
}

// reference is a page in the making.
type reference struct {
	b    strings.Builder
	seen map[protoreflect.FullName]bool
}

func (r *reference) line(format string, args ...any) { fmt.Fprintf(&r.b, format+"\n", args...) }

// message is a section, and then those of the messages that it names and that have none yet.
func (r *reference) message(md protoreflect.MessageDescriptor, level string) {
	if r.seen[md.FullName()] {
		return
	}
	r.seen[md.FullName()] = true
	r.line("")
	r.line("%s %s", level, md.Name())
	r.line("")
	r.line("%s", Comment(md.FullName()))
	if short := definition.ShortForms[md.FullName()]; short != "" {
		r.line("")
		r.line("Short form: a text alone is its `%s`.", short)
	}
	r.line("")
	if md.Fields().Len() == 0 {
		r.line("It has no fields: `{}`.")
		return
	}
	r.line("| field | type | |")
	r.line("|---|---|---|")
	var below []protoreflect.MessageDescriptor
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		r.line("| `%s` | %s | %s |", fd.JSONName(), cell(linked(fd)), cell(meaning(fd)))
		if fd.Kind() == protoreflect.MessageKind && !fd.IsMap() {
			below = append(below, fd.Message())
		}
	}
	for _, m := range below {
		r.message(m, "###")
	}
}

// linked is a field's type, with a link to its section if it has one.
func linked(fd protoreflect.FieldDescriptor) string {
	text := typeOf(fd)
	if fd.Kind() == protoreflect.MessageKind && !fd.IsMap() {
		name := string(fd.Message().Name())
		text = strings.Replace(text, name, fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)), 1)
	}
	if required(fd) {
		text += ", **required**"
	}
	if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		text += ", one of these"
	}
	return text
}

// meaning is a field's comment, and those of the words that it takes.
func meaning(fd protoreflect.FieldDescriptor) string {
	text := Comment(fd.FullName())
	if fd.Kind() != protoreflect.EnumKind {
		return text
	}
	for i := range fd.Enum().Values().Len() {
		if v := fd.Enum().Values().Get(i); v.Number() != 0 {
			text += fmt.Sprintf("\n\n`%s`: %s", v.Name(), Comment(fd.Enum().FullName().Append(v.Name())))
		}
	}
	return text
}

// cell makes text fit into a table of Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n\n", "<br>", "\n", " ", "<", "&lt;").Replace(text)
}
