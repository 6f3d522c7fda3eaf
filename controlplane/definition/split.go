package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"unicode/utf8"
)

// chunk is one document's text in its file.
type chunk struct {
	text []byte
	// line and column count what stands before the text: lines in the file, characters in its first line.
	line, column int
	// json: the text is one JSON value.
	json bool
}

// split cuts a file into documents before any of them is parsed, so that a syntax error in one does not hide the others.
func split(data []byte) []chunk {
	if chunks, ok := splitJSON(data); ok {
		return chunks
	}
	return splitYAML(data)
}

// Count is the number of documents in a file, good and bad.
func Count(data []byte) int {
	n := 0
	for _, c := range split(bytes.TrimPrefix(data, byteOrderMark)) {
		for line := range bytes.Lines(c.text) {
			line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("---")))
			if len(line) > 0 && line[0] != '#' {
				n++
				break
			}
		}
	}
	return n
}

// splitYAML cuts at lines that begin with --- in the first column, which YAML 1.2 (9.1.2) takes for a boundary even
// inside a block scalar, and at those that begin with ... (9.1.4).
func splitYAML(data []byte) []chunk {
	var chunks []chunk
	current := chunk{}
	start, line := 0, 0
	cut := func(end int) {
		current.text = data[start:end]
		chunks = append(chunks, current)
	}
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		switch begins, rest := marker(data[at:end]); begins {
		case "---":
			cut(at)
			// What follows on the marker's line, if anything, belongs to the document, and its columns with it.
			start, current = at, chunk{line: line}
			if rest == "" {
				start, current = end, chunk{line: line + 1}
			}
		case "...":
			cut(at)
			start, current = end, chunk{line: line + 1}
			if rest != "" {
				start, current = at, chunk{line: line} // not a boundary by the standard: the parser says so
			}
		}
		at = end
	}
	cut(len(data))
	return chunks
}

// marker tells whether a line begins with a document marker, and what follows it.
func marker(line []byte) (begins, rest string) {
	if len(line) < 3 {
		return "", ""
	}
	begins = string(line[:3])
	if begins != "---" && begins != "..." {
		return "", ""
	}
	if len(line) > 3 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(line[3])) {
		return "", ""
	}
	return begins, string(bytes.TrimSpace(line[3:]))
}

// splitJSON cuts a stream of JSON objects; ok is false if the data is not one from beginning to end.
func splitJSON(data []byte) (chunks []chunk, ok bool) {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	line, counted := 0, int64(0)
	for {
		from := decoder.InputOffset()
		var value json.RawMessage
		switch err := decoder.Decode(&value); {
		case errors.Is(err, io.EOF):
			return chunks, true
		case err != nil || value[0] != '{':
			return nil, false
		}
		end := decoder.InputOffset()
		begin := from + int64(bytes.IndexByte(data[from:end], '{'))
		line, counted = line+bytes.Count(data[counted:begin], []byte("\n")), begin
		lineStart := bytes.LastIndexByte(data[:begin], '\n') + 1
		chunks = append(chunks, chunk{
			text:   data[begin:end],
			line:   line,
			column: utf8.RuneCount(data[lineStart:begin]),
			json:   true,
		})
	}
}

// escapes finds JSON's escapes; a pair of two stands for one character beyond U+FFFF, which YAML does not have.
var escapes = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\.`)

// yaml is the chunk as YAML whose columns are those of the file.
func (c chunk) yaml() []byte {
	if !c.json {
		return c.text
	}
	text := escapes.ReplaceAllFunc(c.text, func(pair []byte) []byte {
		var s string
		if string(pair) == `\/` { // which yaml.v3 does not know, and many programs write
			return []byte("/")
		}
		if len(pair) == 2 {
			return pair
		}
		if err := json.Unmarshal([]byte(`"`+string(pair)+`"`), &s); err != nil {
			return pair
		}
		return []byte(s)
	})
	return append(bytes.Repeat([]byte(" "), c.column), text...)
}
