package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// readable makes a message fit for a terminal, in place. It has words of strangers in it: a proxy says of itself and of what
// it refuses whatever it wants. What would move the cursor, set a title or turn the direction of writing is shown as Go
// writes it, and one line stays one, so that nobody writes another's. Only texts of documents and resources have lines.
func readable[M proto.Message](m M) M {
	readableFields(m.ProtoReflect())
	return m
}

// texts are the fields that have lines.
var texts = map[protoreflect.Name]bool{"text": true, "yaml": true, "diff": true}

func readableFields(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap(): // the API has none
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				readableFields(v.List().Get(i).Message())
			}
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			for i := range v.List().Len() {
				v.List().Set(i, protoreflect.ValueOfString(words(v.List().Get(i).String(), texts[f.Name()])))
			}
		case f.Message() != nil:
			readableFields(v.Message())
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(words(v.String(), texts[f.Name()])))
		}
		return true
	})
}

// words escapes what is not to be printed. Line ends and tabs stay if lines is true, and are spaces if not.
func words(text string, lines bool) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r), lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// escapeJSON writes what is not to be printed, and JSON leaves as it is, as JSON's own escapes: the value is the same.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r < utf8.RuneSelf && r != 0x7f || unicode.IsPrint(r) || r > 0xffff:
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, `\u`...)
			out = append(out, "0000"[len(strconv.FormatInt(int64(r), 16)):]...)
			out = strconv.AppendInt(out, int64(r), 16)
		}
	}
	return out
}
