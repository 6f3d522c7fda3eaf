package docs

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Page documents one kind or one field.
type Page struct {
	// Path is as it would be asked for, such as Route.rules.timeout.
	Path string `json:"path"`
	// Type is in words: a list of Backend.
	Type string `json:"type"`
	// Required: it must be written.
	Required bool `json:"required"`
	// Default is as the comment has it; "" if there is none.
	Default string `json:"default,omitempty"`
	Text    string `json:"text"`
	// Values are the words that the field takes.
	Values []Entry `json:"values,omitempty"`
	// Fields are those below it.
	Fields []Entry `json:"fields,omitempty"`
}

// Entry is a line of a page's table.
type Entry struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
	Text string `json:"text"`
}

// NotFoundError is a path that leads nowhere.
type NotFoundError struct {
	Path, Message string
}

func (e *NotFoundError) Error() string { return e.Path + ": " + e.Message }

// Kinds are the kinds of documents, each with its first sentence.
func Kinds() []Entry {
	entries := []Entry{}
	for _, kind := range definition.Kinds {
		entries = append(entries, Entry{Name: kind.Name, Text: firstSentence(Comment(kind.New().ProtoReflect().Descriptor().FullName()))})
	}
	return entries
}

// Lookup is the page of a path: a kind, then fields as they are written in YAML, with dots between them. Indices of
// lists, as errors have them, are allowed and mean nothing.
func Lookup(path string) (*Page, error) {
	names := strings.Split(indices.ReplaceAllString(path, ""), ".")
	var md protoreflect.MessageDescriptor
	kinds := []string{}
	for _, kind := range definition.Kinds {
		kinds = append(kinds, kind.Name)
		if strings.EqualFold(kind.Name, names[0]) {
			md = kind.New().ProtoReflect().Descriptor()
		}
	}
	if md == nil {
		return nil, &NotFoundError{path, unknown("kind", names[0], kinds)}
	}
	page := &Page{Path: string(md.Name()), Type: "a document", Required: false, Text: Comment(md.FullName()), Fields: fields(md, true)}
	for _, name := range names[1:] {
		if md == nil {
			return nil, &NotFoundError{path, fmt.Sprintf("%s has no fields: it is %s", page.Path, page.Type)}
		}
		fd, err := find(md, name)
		if err != nil {
			return nil, &NotFoundError{page.Path + "." + name, err.Error()}
		}
		page, md = fieldPage(page.Path, fd), nil
		if fd.Kind() == protoreflect.MessageKind && !fd.IsMap() {
			md = fd.Message()
		}
	}
	return page, nil
}

var indices = regexp.MustCompile(`\[[^\]]*\]`)

func find(md protoreflect.MessageDescriptor, name string) (protoreflect.FieldDescriptor, error) {
	names := []string{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if strings.EqualFold(fd.JSONName(), name) {
			return fd, nil
		}
		names = append(names, fd.JSONName())
	}
	if later := definition.Later(md.FullName(), name); later != "" {
		return nil, fmt.Errorf("%s", later)
	}
	return nil, fmt.Errorf("%s", unknown("field", name, names))
}

func unknown(what, name string, names []string) string {
	message := fmt.Sprintf("got an unknown %s, want one of %s", what, strings.Join(names, ", "))
	if near := definition.Nearest(name, names); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	}
	return message
}

func fieldPage(parent string, fd protoreflect.FieldDescriptor) *Page {
	page := &Page{
		Path: parent + "." + fd.JSONName(), Type: typeOf(fd), Text: Comment(fd.FullName()), Required: required(fd),
	}
	page.Default = defaultOf(fd)
	switch {
	case fd.Kind() == protoreflect.EnumKind:
		for i := range fd.Enum().Values().Len() {
			if v := fd.Enum().Values().Get(i); v.Number() != 0 {
				page.Values = append(page.Values, Entry{Name: string(v.Name()), Text: Comment(fd.Enum().FullName().Append(v.Name()))})
			}
		}
	case fd.Kind() == protoreflect.MessageKind && !fd.IsMap():
		if text := Comment(fd.Message().FullName()); text != "" {
			page.Text += "\n\n" + text
		}
		page.Fields = fields(fd.Message(), false)
	}
	return page
}

// defaultOf is what the comment says behind "Default: ".
func defaultOf(fd protoreflect.FieldDescriptor) string {
	_, rest, _ := strings.Cut(Comment(fd.FullName()), "Default: ")
	return strings.TrimSuffix(firstSentence(rest), ".")
}

// required tells whether a field must be written. One of a oneof's fields must be, but none by itself.
func required(fd protoreflect.FieldDescriptor) bool {
	rules, err := protovalidate.ResolveFieldRules(fd)
	return err == nil && (rules.GetRequired() || rules.GetRepeated().GetMinItems() > 0)
}

func fields(md protoreflect.MessageDescriptor, root bool) []Entry {
	entries := []Entry{}
	if root {
		entries = append(entries, Entry{Name: "kind", Type: string(md.Name()), Text: "The kind of the document."})
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		typ := typeOf(fd)
		if required(fd) {
			typ += ", required"
		}
		if value := defaultOf(fd); value != "" && len(value) <= 20 {
			typ += ", default " + value
		}
		entries = append(entries, Entry{Name: fd.JSONName(), Type: typ, Text: firstSentence(Comment(fd.FullName()))})
	}
	return entries
}

// typeOf is a field's type in words.
func typeOf(fd protoreflect.FieldDescriptor) string {
	one := ""
	switch {
	case fd.IsMap() && fd.MapValue().Kind() == protoreflect.Uint32Kind:
		return "mapping of text to number"
	case fd.IsMap():
		return "mapping of text to text"
	case fd.Kind() == protoreflect.MessageKind:
		one = string(fd.Message().Name())
		if _, ok := definition.ShortForms[fd.Message().FullName()]; ok {
			one += " or text"
		}
	case fd.Kind() == protoreflect.StringKind:
		one = definition.Wanted(fd)
		for _, end := range []string{": ", " such as "} {
			one, _, _ = strings.Cut(one, end)
		}
		for _, article := range []string{"a ", "an ", "the ", "one of "} {
			one = strings.TrimPrefix(one, article)
		}
	case fd.Kind() == protoreflect.BoolKind:
		one = "true or false"
	case fd.Kind() == protoreflect.EnumKind:
		one = strings.TrimPrefix(definition.Wanted(fd), "one of ")
	case fd.Kind() == protoreflect.DoubleKind:
		one = strings.TrimPrefix(definition.Wanted(fd), "a ")
	default:
		one = strings.TrimPrefix(strings.TrimPrefix(definition.Wanted(fd), "a whole "), "one of ")
	}
	if fd.IsList() {
		return "list of " + one
	}
	return one
}

// firstSentence ends at a full stop before a capital letter, so that "e.g. this" does not end it.
func firstSentence(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if i := sentenceEnd.FindStringIndex(text); i != nil {
		return text[:i[0]+1]
	}
	return text
}

var sentenceEnd = regexp.MustCompile("\\. [A-Z\"0-9`]")

// Write is the page for a terminal.
func (p *Page) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", p.Path, p.Type)
	if p.Required {
		b.WriteString(", required")
	}
	if p.Default != "" {
		fmt.Fprintf(&b, ", default %s", p.Default)
	}
	b.WriteString("\n\n" + wrap(p.Text, "  ", 100))
	for _, table := range []struct {
		title   string
		entries []Entry
	}{{"Values", p.Values}, {"Fields", p.Fields}} {
		if len(table.entries) > 0 {
			fmt.Fprintf(&b, "\n%s:\n", table.title)
			writeTable(&b, table.entries)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteKinds is the list of kinds for a terminal.
func WriteKinds(w io.Writer) error {
	var b strings.Builder
	writeTable(&b, Kinds())
	_, err := io.WriteString(w, b.String())
	return err
}

func writeTable(w io.Writer, entries []Entry) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		if e.Type == "" {
			fmt.Fprintf(t, "  %s\t%s\n", e.Name, e.Text)
		} else {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", e.Name, e.Type, e.Text)
		}
	}
	t.Flush()
}

// wrap breaks lines at a width, and indents them.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		line := indent
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > width && line != indent {
				b.WriteString(line + "\n")
				line = indent
			}
			if line != indent {
				line += " "
			}
			line += word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Complete are the paths that begin with what was typed, one step further.
func Complete(typed string) []string {
	parent, last := "", typed
	entries := Kinds()
	if i := strings.LastIndexByte(typed, '.'); i >= 0 {
		page, err := Lookup(typed[:i])
		if err != nil {
			return nil
		}
		parent, last, entries = page.Path+".", typed[i+1:], page.Fields
	}
	paths := []string{}
	for _, e := range entries {
		if strings.HasPrefix(strings.ToLower(e.Name), strings.ToLower(last)) && e.Name != "kind" {
			paths = append(paths, parent+e.Name)
		}
	}
	return paths
}
