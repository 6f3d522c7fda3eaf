package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/source"
)

// paths knows files again by their absolute names: the state outlives a process, and the next one may be started in
// another folder, or with another spelling.
type paths map[string]string

func (p paths) absolute(file string) string {
	abs, known := p[file]
	if !known {
		abs = absolute(file)
		p[file] = abs
	}
	return abs
}

func absolute(file string) string {
	if abs, err := filepath.Abs(file); err == nil && file != source.StdinName {
		return abs
	}
	return file
}

// shortest is the name of a file as a person would write it here: relative, where it is below this folder.
func shortest(abs string) string {
	here, err := os.Getwd()
	if err != nil {
		return abs
	}
	if file, err := filepath.Rel(here, abs); err == nil && filepath.IsLocal(file) {
		return file
	}
	return abs
}

// below says whether file is place, or in that folder.
func (p paths) below(file, place string) bool {
	file, place = p.absolute(file), p.absolute(place)
	return file == place || strings.HasPrefix(file, strings.TrimSuffix(place, "/")+"/")
}

// respell names the files of what was accepted as they are named in the set. Where a set names the files of the last one, and
// nothing was accepted from elsewhere, that was done.
func (s *Store) respell(set Set, p paths) {
	if s.spelled && slices.EqualFunc(s.named, set.Documents, func(was, d *definition.Document) bool { return was == d || was.Position.File == d.Position.File }) {
		return
	}
	there, last := map[string]bool{}, ""
	for _, d := range set.Documents {
		if d.Position.File != last {
			last = d.Position.File
			there[last] = true
		}
	}
	for _, problem := range set.Problems {
		there[problem.File] = true
	}
	other := false // most often, all are named as they were
	for _, d := range s.accepted {
		other = other || !there[d.Position.File]
	}
	if s.spelled = !other; s.spelled {
		return
	}
	spelled := map[string]string{}
	for _, d := range set.Documents {
		spelled[p.absolute(d.Position.File)] = d.Position.File
	}
	for _, problem := range set.Problems {
		spelled[p.absolute(problem.File)] = problem.File
	}
	for ref, d := range s.accepted {
		if now, ok := spelled[p.absolute(d.Position.File)]; ok && now != d.Position.File {
			renamed := *d
			renamed.Position.File = now
			s.accepted[ref], s.settled = &renamed, nil
		}
	}
}
