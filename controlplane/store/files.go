package store

import (
	"bytes"
	"maps"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/source"
)

// Files turns files into Sets. It parses again only what changed. It is for one goroutine.
type Files struct {
	parsed    map[string]parsed
	documents int // in the last Set
}

type parsed struct {
	data []byte
	*definition.Parsed
}

// Set parses files.
func (f *Files) Set(files []source.File) Set {
	set := Set{Documents: make([]*definition.Document, 0, f.documents)}
	if f.parsed == nil {
		f.parsed = make(map[string]parsed, len(files))
	}
	there := 0
	for _, file := range files {
		if file.Err != nil {
			set.Unknown = append(set.Unknown, file.Path)
			set.Problems = append(set.Problems, definition.Problem{
				Position: definition.Position{File: file.Path}, Code: definition.CodeMissingFile, Severity: definition.SeverityError,
				Message: "cannot be read: " + file.Err.Error(),
			})
			continue
		}
		p, ok := f.parsed[file.Path]
		if !ok || !bytes.Equal(p.data, file.Data) {
			p = parsed{file.Data, definition.Reparse(file.Path, file.Data, p.Parsed)}
			f.parsed[file.Path] = p
		}
		there++
		set.Documents = append(set.Documents, p.Documents...)
		set.Problems = append(set.Problems, p.Problems...)
		for _, problem := range p.Problems {
			// A document whose name cannot be read may be any of those that stood here, and a text that breaks off may have
			// had more behind it.
			if problem.Severity == definition.SeverityError && (problem.Ref.Name == "" || problem.Code == definition.CodeSyntax) {
				set.Unknown = append(set.Unknown, file.Path)
				break
			}
		}
	}
	if there < len(f.parsed) {
		f.forget(files)
	}
	f.documents = len(set.Documents)
	return set
}

// forget drops what is not among the files that could be read.
func (f *Files) forget(files []source.File) {
	read := make(map[string]bool, len(files))
	for _, file := range files {
		read[file.Path] = file.Err == nil
	}
	maps.DeleteFunc(f.parsed, func(path string, _ parsed) bool { return !read[path] })
}
