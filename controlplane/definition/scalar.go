package definition

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// quoted is every style in which a scalar is text whatever it looks like.
const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// scalar reads a text, a number, true or false, or a word of an enum. ok is false, and there is a problem, if it is
// not what the field is.
func (d *decoder) scalar(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (value protoreflect.Value, ok bool) {
	if n.Kind != yaml.ScalarNode {
		d.node(n, path, CodeWrongType, "got "+describe(n)+", want "+Wanted(fd))
		return value, false
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return d.text(n, fd, path)
	case protoreflect.BoolKind:
		if n.Style&quoted == 0 && (n.Value == "true" || n.Value == "false") {
			return protoreflect.ValueOfBool(n.Value == "true"), true
		}
		d.node(n, path, CodeWrongType, "got "+describe(n)+", want true or false")
		return value, false
	case protoreflect.EnumKind:
		return d.enum(n, fd, path)
	default:
		return d.number(n, fd, path)
	}
}

func (d *decoder) text(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (value protoreflect.Value, ok bool) {
	switch tag := n.ShortTag(); tag {
	case "!!int", "!!float", "!!bool":
		message := "got " + describe(n) + ", want " + Wanted(fd)
		if Wanted(fd) == "text" || tag != "!!float" && Wanted(fd) != wantedDuration && Wanted(fd) != wantedSize && wants[fd.FullName()] == "" {
			message += fmt.Sprintf(": write %q", n.Value)
		}
		d.node(n, path, CodeWrongType, message)
		return value, false
	}
	return protoreflect.ValueOfString(n.Value), true
}

var (
	wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	decimal     = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	suffixed    = regexp.MustCompile(`^([0-9]+)([kKmMgG]i?)[bB]?$`)
)

// number reads a number, a whole one unless the field takes others: decimal digits, and nothing that some YAML readers take for a number and others do not.
func (d *decoder) number(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (value protoreflect.Value, ok bool) {
	problem := func(remedy string) (protoreflect.Value, bool) {
		d.node(n, path, CodeWrongNumber, "got "+describe(n)+", want "+Wanted(fd)+remedy)
		return value, false
	}
	switch {
	case n.Style&quoted != 0 && (wholeNumber.MatchString(n.Value) || fd.Kind() == protoreflect.DoubleKind && decimal.MatchString(n.Value)):
		return problem(": write it without quotes")
	case n.Style&quoted != 0:
		return problem("")
	case suffixed.MatchString(n.Value):
		return problem(": write it out" + writtenOut(n.Value))
	case fd.Kind() == protoreflect.DoubleKind:
		parsed, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || !decimal.MatchString(n.Value) {
			return problem("")
		}
		return protoreflect.ValueOfFloat64(parsed), true
	case !wholeNumber.MatchString(n.Value):
		return problem("")
	}
	if fd.Kind() == protoreflect.Int32Kind {
		parsed, err := strconv.ParseInt(n.Value, 10, 32)
		if err != nil {
			return problem("")
		}
		return protoreflect.ValueOfInt32(int32(parsed)), true
	}
	parsed, err := strconv.ParseUint(n.Value, 10, 32)
	if err != nil {
		return problem("")
	}
	return protoreflect.ValueOfUint32(uint32(parsed)), true
}

// writtenOut is 8k as ", such as 8000".
func writtenOut(text string) string {
	parts := suffixed.FindStringSubmatch(text)
	value, err := strconv.ParseUint(parts[1], 10, 20)
	factors := map[string]uint64{"k": 1e3, "m": 1e6, "g": 1e9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", %d", value*factors[strings.ToLower(parts[2])])
}

func (d *decoder) enum(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (value protoreflect.Value, ok bool) {
	for _, v := range enumValues(fd.Enum()) {
		if string(v.Name()) == n.Value {
			return protoreflect.ValueOfEnum(v.Number()), true
		}
	}
	message := "got " + describe(n) + ", want " + Wanted(fd)
	parent := fd.ContainingMessage().FullName()
	names := []string{}
	for _, v := range enumValues(fd.Enum()) {
		names = append(names, string(v.Name()))
	}
	if later := Later(parent, strings.ToUpper(n.Value)); later != "" {
		message += ": " + later
	} else {
		message += didYouMean(n.Value, names)
	}
	d.node(n, path, CodeWrongEnum, message)
	return value, false
}

// enumValues are the words that may be written: not that which stands for "not set".
func enumValues(ed protoreflect.EnumDescriptor) []protoreflect.EnumValueDescriptor {
	values := []protoreflect.EnumValueDescriptor{}
	for i := range ed.Values().Len() {
		if v := ed.Values().Get(i); v.Number() != 0 {
			values = append(values, v)
		}
	}
	return values
}

// describe says what a node is, for "got …".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.AliasNode:
		return describeAnchor(n)
	}
	if n.Style&quoted == 0 {
		switch n.ShortTag() {
		case "!!null":
			return "nothing"
		case "!!int", "!!float":
			return "the number " + shorten(n.Value)
		case "!!bool":
			return n.Value
		}
	}
	return strconv.Quote(shorten(n.Value))
}

func describeAnchor(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return "the alias *" + shorten(n.Value)
	case n.Anchor != "":
		return "the anchor &" + shorten(n.Anchor)
	}
	return "a merge key"
}

// shorten keeps a message readable, whatever was written, and a key that was pasted into a definition out of it:
// messages go into logs, and to everyone who asks for the status.
func shorten(text string) string {
	const longest = 60
	if isPEM(text) {
		return "[redacted]"
	}
	if utf8.RuneCountInString(text) <= longest {
		return text
	}
	return string([]rune(text)[:longest]) + "…"
}
