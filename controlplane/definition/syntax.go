package definition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxError is a fault of YAML itself, at a line and column of its text, both from 1.
type syntaxError struct {
	line, column int
	code         string
	message      string
}

// maxLocate is the length, in bytes, up to which an error is looked for.
const maxLocate = 128 << 10

const (
	noAnchors        = "anchors, aliases and merge keys are not supported"
	tabInIndentation = "got a tab in the indentation, want spaces"
)

// parseYAML reads the one document of a text; nil for an empty one.
func parseYAML(text []byte) (*yaml.Node, *syntaxError) {
	if fault := findDirective(text); fault != nil {
		return nil, fault
	}
	node, err := parseNode(text)
	if err == nil {
		return node, nil
	}
	line := locate(text, err)
	fault := &syntaxError{line: line, column: 1, code: CodeSyntax, message: wordSyntax(reason(err))}
	if name, ok := strings.CutPrefix(reason(err), "unknown anchor '"); ok {
		fault.code = CodeAnchor
		fault.message = "got the alias *" + strings.TrimSuffix(name, "' referenced") + ", want the value written out: " + noAnchors
	}
	content := lineOf(text, line)
	indent := len(content) - len(bytes.TrimLeft(content, " "))
	if indent < len(content) && content[indent] == '\t' {
		fault.message = tabInIndentation
	}
	fault.column = indent + 1
	return nil, fault
}

// parseNode is yaml.v3's parser. It has panicked on hostile bytes before; a control plane must outlive such a file.
func parseNode(text []byte) (node *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			node, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	node = &yaml.Node{}
	if err := decoder.Decode(node); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	// YAML 1.1 breaks lines at characters at which split does not: nothing may stay unread behind one.
	if err := decoder.Decode(&yaml.Node{}); err == nil {
		return nil, errors.New("yaml: got a second document, want --- on a line of its own before it")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return node, nil
}

var whereAndWhat = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// reason is the parser's complaint without its line, which is often that where the enclosing block began.
func reason(err error) string {
	if m := whereAndWhat.FindStringSubmatch(err.Error()); m != nil {
		return m[2]
	}
	return err.Error()
}

// locate finds the line at which the parser gives up: the first one up to which the text, cut off there, earns the same
// complaint. (The line that yaml.v3 names is off by one or more, or missing; for a long text, where the search would take
// seconds, it must do.)
func locate(text []byte, err error) int {
	ends := []int{}
	if len(text) > maxLocate {
		m := whereAndWhat.FindStringSubmatch(err.Error())
		if m == nil || m[1] == "" {
			return 1
		}
		line, _ := strconv.Atoi(m[1]) // digits, by the expression
		return line
	}
	for i, c := range text {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		ends = append(ends, len(text))
	}
	want := reason(err)
	line := sort.Search(len(ends)-1, func(i int) bool {
		_, err := parseNode(text[:ends[i]])
		return err != nil && reason(err) == want
	})
	return line + 1
}

// wordSyntax says in other words what yaml.v3 says of its own insides.
func wordSyntax(reason string) string {
	switch {
	case strings.Contains(reason, "mapping values are not allowed"):
		return "got a ':' where no key can stand, want the text in quotes, or a line of its own for the key"
	case strings.Contains(reason, "could not find expected ':'"):
		return "got text without a ':' after it, want key: value"
	case strings.Contains(reason, "did not find expected key"):
		return "got text that is no key of this mapping, want the same indentation as the lines above"
	case strings.Contains(reason, "did not find expected '-' indicator"):
		return "got text that is no item of this list, want '- ' in the column of the items above"
	case strings.Contains(reason, "did not find expected ',' or ']'"):
		return "got a list that is not closed, want ',' or ']', and quotes around text that has one of ?[]{}, in it"
	case strings.Contains(reason, "did not find expected ',' or '}'"):
		return "got a mapping that is not closed, want ',' or '}', and quotes around text that has one of ?[]{}, in it"
	case strings.Contains(reason, "unexpected end of stream"):
		return "got text in quotes that does not end, want the closing quote"
	case strings.Contains(reason, "did not find expected <document start>"):
		return "got more text after the document, want --- on a line of its own before it"
	case strings.Contains(reason, "control characters are not allowed"):
		return "got a control character, want it escaped in quotes, such as \"\\x01\""
	case strings.Contains(reason, "tab character"):
		return tabInIndentation
	case strings.Contains(reason, "cannot start any token"):
		return "got a character that begins no value, want the text in quotes"
	case strings.HasPrefix(reason, "got "):
		return reason
	}
	return "got text that is not YAML: " + reason
}

// findDirective refuses %YAML and %TAG, which could change what the rest means.
func findDirective(text []byte) *syntaxError {
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		switch trimmed := bytes.TrimSpace(line); {
		case len(trimmed) == 0 || trimmed[0] == '#':
			continue
		case line[0] == '%':
			return &syntaxError{line: n, column: 1, code: CodeTag, message: fmt.Sprintf("got the directive %s, want none", trimmed)}
		}
		return nil
	}
	return nil
}

// lineOf is a line of a text, counted from 1.
func lineOf(text []byte, line int) []byte {
	lines := bytes.SplitN(text, []byte("\n"), line+1)
	if line > len(lines) {
		return nil
	}
	return bytes.TrimRight(lines[line-1], "\r")
}

var (
	kindLine = regexp.MustCompile(`(?m)^["']?kind["']?[ \t]*:[ \t]*["']?([A-Za-z]+)["']?[ \t\r]*(?:#.*)?$`)
	nameLine = regexp.MustCompile(`(?m)^["']?name["']?[ \t]*:[ \t]*["']?([a-z0-9-]{1,63})["']?[ \t\r]*(?:#.*)?$`)
)

// guessRef reads kind and name from a text that does not parse, so that its last good version can be told from one that
// was deleted. Where either stands twice it does not guess: see refOf.
func guessRef(text []byte) Ref {
	kinds, names := kindLine.FindAllSubmatch(text, 2), nameLine.FindAllSubmatch(text, 2)
	if len(kinds) != 1 || len(names) != 1 || kindOf(string(kinds[0][1])) == nil {
		return Ref{}
	}
	return Ref{Kind: string(kinds[0][1]), Name: string(names[0][1])}
}
