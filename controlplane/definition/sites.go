package definition

import (
	"cmp"
	"slices"
	"unique"
)

// sites say where a document's values stand, sorted by field path. All documents are kept with theirs, so they are small.
type sites []site

type site struct {
	path         unique.Handle[string] // the same in most documents
	line, column int32
}

func newSites(positions map[string]Position) sites {
	all := make(sites, 0, len(positions))
	for path, p := range positions {
		all = append(all, site{unique.Make(path), int32(p.Line), int32(p.Column)})
	}
	slices.SortFunc(all, func(a, b site) int { return cmp.Compare(a.path.Value(), b.path.Value()) })
	return all
}

func (all sites) find(path string) (site, bool) {
	i, ok := slices.BinarySearchFunc(all, path, func(p site, path string) int { return cmp.Compare(p.path.Value(), path) })
	if !ok {
		return site{}, false
	}
	return all[i], true
}
