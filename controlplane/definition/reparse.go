package definition

import (
	"bytes"
	"hash/maphash"
)

// Parsed is what Parse made of a file, and what another reading of the file needs to parse again only what changed in it.
type Parsed struct {
	Documents []*Document
	Problems  []Problem

	kept map[uint64]kept // by the hash of the text
}

// kept is a document without a fault, and where its text stood: see chunk.
type kept struct {
	document     *Document
	line, column int
	json         bool
}

var textSeed = maphash.MakeSeed()

// Reparse is Parse of a file that was read before; before may be nil. A document whose text stands there as it did is the
// very same; one that moved to other lines has the same Message, so that what was made of it can be known by that.
func Reparse(file string, data []byte, before *Parsed) *Parsed {
	data = bytes.TrimPrefix(data, byteOrderMark)
	out := &Parsed{kept: map[uint64]kept{}}
	if problem := checkFile(file, data); problem != nil {
		out.Problems = []Problem{*problem}
		return out
	}
	for _, c := range split(data) {
		id := maphash.Bytes(textSeed, c.text)
		document := before.reuse(id, c)
		if document == nil {
			var found []Problem
			document, found = parseChunk(file, c)
			out.Problems = append(out.Problems, found...)
		}
		if document == nil {
			continue
		}
		out.Documents = append(out.Documents, document)
		out.kept[id] = kept{document, c.line, c.column, c.json}
	}
	return out
}

// reuse is the document of a text that was there before; nil if it was not, or stood in another place of its line.
func (p *Parsed) reuse(id uint64, c chunk) *Document {
	if p == nil {
		return nil
	}
	k, ok := p.kept[id]
	if !ok || k.column != c.column || k.json != c.json || !bytes.Equal(k.document.Text, c.text) {
		return nil
	}
	if k.line == c.line {
		return k.document
	}
	return k.document.moved(c.line - k.line)
}

// moved is the document so many lines further down.
func (d *Document) moved(lines int) *Document {
	out := *d
	out.lines += lines
	out.Position.Line += lines
	return &out
}
