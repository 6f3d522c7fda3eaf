package definition

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The limits on what a file may make the control plane hold.
const (
	maxFile     = 64 << 20 // bytes
	maxDocument = 1 << 20  // bytes
	maxDepth    = 64       // levels of lists and mappings
	maxProblems = 100      // told of one document, before "and more"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// Parse reads the documents of a file, YAML or JSON. It never stops at the first fault, and one bad document does not
// hide the others. A document that cannot be used is not returned; its problems carry its Ref where kind and name could
// be read. The file's name is not opened: it is for positions and Dir.
func Parse(file string, data []byte) ([]*Document, []Problem) { return ParseAfter(file, 0, data) }

// ParseAfter is Parse for the part of a file that stands behind its first lines: positions count those too.
func ParseAfter(file string, lines int, data []byte) ([]*Document, []Problem) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	if problem := checkFile(file, data); problem != nil {
		problem.Line += lines
		return nil, []Problem{*problem}
	}
	var documents []*Document
	var problems []Problem
	for _, c := range split(data) {
		c.line += lines
		document, found := parseChunk(file, c)
		if document != nil {
			documents = append(documents, document)
		}
		problems = append(problems, found...)
	}
	return documents, problems
}

// checkFile looks for what makes a whole file unreadable.
func checkFile(file string, data []byte) *Problem {
	problem := Problem{Position: Position{File: file, Line: 1, Column: 1}, Severity: SeverityError}
	if len(data) > maxFile {
		problem.Code = CodeTooLarge
		problem.Message = fmt.Sprintf("got %d bytes, want at most %d in a file", len(data), maxFile)
		return &problem
	}
	if utf8.Valid(data) {
		return nil
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if utf8.Valid(text) {
			continue
		}
		column := 1
		for {
			r, size := utf8.DecodeRune(text)
			if r == utf8.RuneError && size == 1 {
				break
			}
			text = text[size:]
			column++
		}
		problem.Line, problem.Column = line, column
		problem.Code = CodeEncoding
		problem.Message = fmt.Sprintf("got the byte 0x%02x, want UTF-8: save the file in that encoding", text[0])
		break
	}
	return &problem
}

// readChunk reads one document: syntax, shape, fields, rules, in this order. Neither result is there for an empty one.
func readChunk(file string, c chunk) (*Document, []Problem) {
	d := &decoder{file: file, line: c.line, positions: map[string]Position{}}
	if len(c.text) > maxDocument {
		d.ref = guessRef(c.text)
		d.add(d.start(), "", CodeTooLarge, fmt.Sprintf("got %d bytes, want at most %d in a document", len(c.text), maxDocument))
		return nil, d.problems
	}
	root, fault := parseYAML(c.yaml())
	if fault != nil {
		d.ref = guessRef(c.text)
		at := Position{File: file, Line: c.line + fault.line, Column: fault.column}
		d.add(at, "", fault.code, fault.message)
		return nil, d.problems
	}
	if root == nil || isEmpty(root) {
		return nil, nil
	}
	message := d.document(root.Content[0])
	if message == nil {
		return nil, d.sorted()
	}
	document := &Document{
		Ref:      d.ref,
		Position: d.at(""),
		Message:  message.Interface(),
		Hash:     hash(d.ref.Kind, message),
		Text:     bytes.Clone(c.text),
		Dir:      filepath.Dir(file),
		sites:    newSites(d.positions),
	}
	judge(d, message)
	if len(d.problems) == 0 {
		d.privateKey(c.text)
	}
	if len(d.problems) > 0 {
		return nil, d.sorted()
	}
	return document, nil
}

// isEmpty: nothing but comments.
func isEmpty(root *yaml.Node) bool {
	if len(root.Content) == 0 {
		return true
	}
	n := root.Content[0]
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// decoder reads one document's nodes into a message, and collects what is wrong with them.
type decoder struct {
	file      string
	line      int // lines of the file before the document's text
	ref       Ref
	positions map[string]Position
	problems  []Problem
	// faulty are the paths at which something is wrong: what follows from it is not told as well.
	faulty []string
	// told are those of the earlier phases: see phase.
	told []string
	// more counts the problems beyond maxProblems.
	more int
}

func (d *decoder) position(n *yaml.Node) Position {
	return Position{File: d.file, Line: n.Line + d.line, Column: n.Column}
}

func (d *decoder) start() Position { return Position{File: d.file, Line: d.line + 1, Column: 1} }

// at is the position of a field's value, of its nearest parent's if it is not written.
func (d *decoder) at(field string) Position {
	for ; field != ""; field = parentPath(field) {
		if p, ok := d.positions[field]; ok {
			return p
		}
	}
	if p, ok := d.positions["name"]; ok {
		return p
	}
	return d.positions[""]
}

func (d *decoder) add(at Position, field, code, message string) {
	if len(d.problems) == maxProblems {
		d.more++
		return
	}
	d.problems = append(d.problems, Problem{
		Position: at, Code: code, Severity: SeverityError, Ref: d.ref, Field: field, Message: message,
	})
	d.faulty = append(d.faulty, field)
}

// node adds a problem at a node.
func (d *decoder) node(n *yaml.Node, field, code, message string) {
	d.add(d.position(n), field, code, message)
}

// sorted are the problems in the order of the file. All carry the Ref, which may have been read after some were found.
func (d *decoder) sorted() []Problem {
	for i := range d.problems {
		d.problems[i].Ref = d.ref
	}
	SortProblems(d.problems)
	if d.more > 0 {
		last := d.problems[len(d.problems)-1]
		last.Field, last.Message = "", fmt.Sprintf("got %d more problems, want these mended first", d.more)
		d.problems = append(d.problems, last)
	}
	return d.problems
}

// SortProblems puts problems in the order of files, and of what stands in them.
func SortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// document reads a root node: kind and name first, since every problem is told with them. The message is nil if there
// is no kind to read it as.
func (d *decoder) document(n *yaml.Node) protoreflect.Message {
	d.positions[""] = d.position(n)
	if tooDeep(n, maxDepth) {
		d.ref = refOf(n)
		d.node(n, "", CodeTooDeep, fmt.Sprintf("got more than %d levels of lists and mappings, want fewer", maxDepth))
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.node(n, "", CodeNotADocument, "got "+describe(n)+", want a document: kind, name and the kind's fields")
		return nil
	}
	d.ref = refOf(n)
	d.sound(n, "")
	kind := d.kind(n)
	if kind == nil {
		return nil
	}
	m := kind.New().ProtoReflect()
	d.mapping(n, m, "")
	return m
}

// refOf reads kind and name, whatever else is wrong. Where either stands twice a --- is missing, and it is not known which
// documents the text was: to name the first would say that the others were deleted.
func refOf(n *yaml.Node) Ref {
	if times(n, "kind") > 1 || times(n, "name") > 1 {
		return Ref{}
	}
	kind, name := valueOf(n, "kind"), valueOf(n, "name")
	if kind == nil || kind.Kind != yaml.ScalarNode || kindOf(kind.Value) == nil {
		return Ref{}
	}
	ref := Ref{Kind: kind.Value}
	if name != nil && name.Kind == yaml.ScalarNode && name.ShortTag() != "!!null" && len(name.Value) <= 63 {
		ref.Name = name.Value
	}
	return ref
}

// kind reads the kind of a root mapping; nil, and a problem, if there is none of that name.
func (d *decoder) kind(n *yaml.Node) *Kind {
	value := valueOf(n, "kind")
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = k.Name
	}
	want := "one of " + strings.Join(names, ", ")
	switch {
	case value == nil:
		d.node(n, "kind", CodeKind, "got nothing, want "+want)
	case value.Kind != yaml.ScalarNode || value.ShortTag() != "!!str":
		d.node(value, "kind", CodeKind, "got "+describe(value)+", want "+want)
	case kindOf(value.Value) != nil:
		return kindOf(value.Value)
	case slices.Contains(reservedKinds, value.Value):
		d.node(value, "kind", CodeReservedKind, fmt.Sprintf("got %s, want %s: %s is not supported yet", value.Value, want, value.Value))
	default:
		d.node(value, "kind", CodeKind, fmt.Sprintf("got %s, want %s%s", describe(value), want, didYouMean(value.Value, names)))
	}
	return nil
}

// valueOf is the value of a key in a mapping, nil if there is none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// times is how often a key stands in a mapping.
func times(n *yaml.Node, key string) int {
	count := 0
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			count++
		}
	}
	return count
}

func tooDeep(n *yaml.Node, levels int) bool {
	if n.Kind == yaml.ScalarNode || n.Kind == yaml.AliasNode {
		return false
	}
	return levels == 0 || slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return tooDeep(c, levels-1) })
}

func didYouMean(word string, names []string) string {
	if near := Nearest(word, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}
