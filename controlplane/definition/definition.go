// Package definition turns bytes into checked messages of the language (package sluice.v1): strict YAML or JSON, every
// document judged alone, every fault with file:line:col and what was wanted instead.
//
// In: a file's name and bytes. Out: documents that are right by themselves, and problems. It must not know other
// documents (references and conflicts are compile's), the disk, or the wire.
//
// The decoder is ours, over YAML nodes and protobuf reflection. protoyaml reads only the first document of a stream, and
// lets through duplicate keys, anchors, merge keys, nulls, snake_case spellings and enum numbers; what it lets through
// today could never be refused later. Validation rules stand in the .proto files and are run by protovalidate.
//
// Defaults live here too, in one place: WithDefaults, RouteOf and BuiltinGateway.
package definition

import (
	"cmp"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Position is a place in a file. Line and Column count from 1, Column in characters; 0 is unknown.
type Position struct {
	File         string
	Line, Column int
}

// String is file:line:col, with what is unknown left out.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Ref names a document: the kind and the name, which is unique among documents of the kind.
type Ref struct{ Kind, Name string }

// String is kind/name, such as Route/shop.
func (r Ref) String() string {
	if r.Name == "" {
		return r.Kind
	}
	return r.Kind + "/" + r.Name
}

// Severity says whether a problem keeps its document from being served.
type Severity string

// The severities.
const (
	// SeverityError: the document, or the part named, is not served.
	SeverityError Severity = "error"
	// SeverityWarning: it is served, and is probably not what was meant.
	SeverityWarning Severity = "warning"
)

// CompareRefs orders by kind, then by name.
func CompareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// Problem is one fault, for people and for tools.
type Problem struct {
	Position
	// Code is stable: see Codes.
	Code     string
	Severity Severity
	// Ref is empty when kind and name could not be read.
	Ref Ref
	// Field is the path in the document as written in YAML, such as rules[0].backends[1].service. Empty: the whole of it.
	Field   string
	Message string
}

// Error is `file:line:col: kind/name: field: message`, with what is unknown left out.
func (p Problem) Error() string {
	return p.Position.String() + ": " + p.Text()
}

// Text is Error without the position.
func (p Problem) Text() string {
	var b strings.Builder
	if p.Ref.Kind != "" {
		b.WriteString(p.Ref.String())
		b.WriteString(": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Document is one document that is right by itself. It is not changed after Parse.
type Document struct {
	Ref Ref
	// Position is that of the value of `name`, else of the document's first key.
	Position Position
	// Message is *sluicev1.Gateway, Route, Service, Certificate or Test. Strings written for a message are that message;
	// defaults are not filled in: see WithDefaults.
	Message proto.Message
	// Hash is of the canonical content: comments, formatting, file and place do not count.
	Hash string
	// Text is the document as written, enough to Parse it again.
	Text []byte
	// Dir is the folder that relative file names are relative to.
	Dir string

	// sites are where the values stand, but that the text has moved down by lines since.
	sites sites
	lines int
}

// At is the position of the value of a field, such as "rules[0].backends[1].service"; where that is not written, of the
// nearest parent that is.
func (d *Document) At(field string) Position {
	for field != "" {
		if p, ok := d.sites.find(field); ok {
			return Position{File: d.Position.File, Line: int(p.line) + d.lines, Column: int(p.column)}
		}
		field = parentPath(field)
	}
	return d.Position
}

// parentPath cuts the last step off a field path: a.b[2] → a.b → a → "".
func parentPath(field string) string {
	if strings.HasSuffix(field, `"]`) {
		if i := strings.LastIndex(field, `["`); i >= 0 {
			return field[:i]
		}
	}
	if i := strings.LastIndexAny(field, ".["); i >= 0 {
		return field[:i]
	}
	return ""
}
