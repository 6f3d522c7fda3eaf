// Package features is what a proxy says that it takes of Envoy's API, written into its xDS node and read from it.
//
// In: a table of messages and fields, of a proxy that says it; or a node, of whom one was told. Out: the node's word as a short
// text, and what a resource has that such a proxy does not take. It must not know where the table comes from, who is
// connected, or what is done about it.
package features

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unique"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Table is what a proxy takes, by message: its full name, or "RESOURCE>MESSAGE" for what counts within resources of one
// type alone. What is not here is refused.
type Table map[string]Message

// Message has the fields that are taken, by number.
type Message map[protoreflect.FieldNumber]Field

// Field is how a field is taken.
type Field struct {
	// Values are the only ones: names of an enum, quoted strings, numbers and booleans as Go prints them. Empty is all.
	Values []string `json:"v,omitempty"`
	// Types are what the field, an Any, may hold. Empty is that it is not looked into.
	Types []protoreflect.FullName `json:"t,omitempty"`
	// Skip: what is in it makes no difference.
	Skip bool `json:"s,omitempty"`
}

// Key is where a Table has a message; within is empty for all resources.
func Key(within, message protoreflect.FullName) string {
	if within == "" {
		return string(message)
	}
	return string(within) + ">" + string(message)
}

const (
	// metadataKey is where the word stands in a node's metadata.
	metadataKey = "sluice.features"
	// maxWord is how long a word may be, and maxTable its table, in bytes.
	maxWord, maxTable = 64 << 10, 1 << 20
	// tablePrefix and extensionsPrefix say what kind of word it is.
	tablePrefix, extensionsPrefix = "1.", "x."
)

// Announce writes the table into a node: some 4 KB.
func Announce(node *corepb.Node, table Table) {
	if node.Metadata == nil {
		node.Metadata = &structpb.Struct{}
	}
	if node.Metadata.Fields == nil {
		node.Metadata.Fields = map[string]*structpb.Value{}
	}
	node.Metadata.Fields[metadataKey] = structpb.NewStringValue(Word(table))
}

// Word is the table as a text. Equal tables have equal words, of one build at least.
func Word(table Table) string {
	text, err := json.Marshal(table)
	if err != nil {
		panic("features: a table of strings and numbers cannot be JSON: " + err.Error())
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		panic("features: " + err.Error()) // only of a level that there is not
	}
	_, _ = w.Write(text) // a buffer takes all
	_ = w.Close()
	return tablePrefix + base64.RawStdEncoding.EncodeToString(packed.Bytes())
}

// Of is a node's word: a table, or, as Envoy says it, the types of its extensions. Empty is that it does not say. Equal
// words share their bytes, since a fleet of thousands has a few.
func Of(node *corepb.Node) string {
	if word := node.GetMetadata().GetFields()[metadataKey].GetStringValue(); word != "" {
		if len(word) > maxWord || !strings.HasPrefix(word, tablePrefix) {
			return ""
		}
		return unique.Make(word).Value()
	}
	var types []string
	size := 0
	for _, e := range node.GetExtensions() {
		for _, t := range e.GetTypeUrls() {
			t = t[strings.LastIndexByte(t, '/')+1:]
			if size += len(t) + 1; size > maxWord {
				return ""
			}
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		return ""
	}
	slices.Sort(types)
	return unique.Make(extensionsPrefix + strings.Join(slices.Compact(types), " ")).Value()
}

// Taken is what a word says.
type Taken struct {
	table      Table                          // nil: any field
	extensions map[protoreflect.FullName]bool // without a table; these alone
}

// Parse reads a word. An empty one takes everything.
func Parse(word string) (*Taken, error) {
	if rest, ok := strings.CutPrefix(word, extensionsPrefix); ok {
		t := &Taken{extensions: map[protoreflect.FullName]bool{}}
		for name := range strings.FieldsSeq(rest) {
			t.extensions[protoreflect.FullName(name)] = true
		}
		return t, nil
	}
	if word == "" {
		return &Taken{}, nil
	}
	rest, ok := strings.CutPrefix(word, tablePrefix)
	if !ok || len(word) > maxWord {
		return nil, fmt.Errorf("features: got a word of %d bytes that is of no known kind", len(word))
	}
	packed, err := base64.RawStdEncoding.DecodeString(rest)
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxTable+1))
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	if len(text) > maxTable {
		return nil, fmt.Errorf("features: got more than %d bytes", maxTable)
	}
	t := &Taken{}
	if err := json.Unmarshal(text, &t.table); err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	if t.table == nil {
		t.table = Table{}
	}
	return t, nil
}

// Taken is what the table takes.
func (t Table) Taken() *Taken { return &Taken{table: t} }

// Whole reports whether the word was about all fields, as our proxies' is, and not about extensions alone.
func (t *Taken) Whole() bool { return t.table != nil }

// Types are all that a table takes as extensions: what a proxy needs that is to do the same.
func (t Table) Types() map[protoreflect.FullName]bool {
	out := map[protoreflect.FullName]bool{}
	for _, m := range t {
		for _, f := range m {
			for _, name := range f.Types {
				out[name] = true
			}
		}
	}
	return out
}

// Covers reports whether one of these takes all that a proxy of the table takes, as far as both say.
func (t *Taken) Covers(table Table) bool {
	if t.extensions != nil {
		for name := range table.Types() {
			if !t.extensions[name] {
				return false
			}
		}
		return true
	}
	if t.table == nil {
		return true
	}
	for key, fields := range table {
		for number, f := range fields {
			have, ok := t.table[key][number]
			if !ok || !within(f.Values, have.Values) || !within(f.Types, have.Types) || f.Skip && !have.Skip {
				return false
			}
		}
	}
	return true
}

// within: all of want are taken; an empty have takes anything.
func within[T comparable](want, have []T) bool {
	if len(have) == 0 {
		return true
	}
	if len(want) == 0 {
		return false
	}
	return !slices.ContainsFunc(want, func(v T) bool { return !slices.Contains(have, v) })
}
