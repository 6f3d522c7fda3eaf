package source

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// mostGraces bounds how long files are kept that go one after another.
const mostGraces = 2.5

// losses are the files that lost something since the last set, and are kept as they were for a while.
type losses struct {
	paths map[string]bool
	// first and last are when something was lost: the first, and the newest.
	first, last time.Time
}

// loss is a file as it was, and what of it is not there any more.
type loss struct {
	was  File
	lost []byte
	at   int // where the file stands now; -1: it is gone
}

// keep gives files that are gone, or cut short, what they had, and says when to look again; 0 is: nothing is kept. What
// was lost in one place and came in another was moved: that is no loss.
func (l *losses) keep(had, now []File, grace time.Duration) ([]File, time.Duration) {
	all, came := compare(had, now)
	if len(all) > 0 {
		elsewhere := lines(came)
		all = slices.DeleteFunc(all, func(x loss) bool { return moved(x.lost, elsewhere) })
	}
	left := l.left(all, grace)
	if left <= 0 {
		return now, 0
	}
	for _, x := range all {
		if x.at < 0 {
			now = append(now, x.was)
		} else {
			now[x.at] = x.was
		}
	}
	return now, left
}

// compare finds what was lost, and the texts that came or changed otherwise.
func compare(had, now []File) (all []loss, came [][]byte) {
	before, after := map[string]File{}, map[string]bool{}
	for _, f := range had {
		if f.Err == nil {
			before[f.Path] = f
		}
	}
	for i, f := range now {
		after[f.Path] = true
		old, known := before[f.Path]
		switch {
		case known && errors.Is(f.Err, fs.ErrNotExist): // it went after it was listed, or a person named it
			all = append(all, loss{was: old, lost: old.Data, at: i})
		case f.Err != nil: // what stands there is unknown, and told to be
		case known && len(f.Data) < len(old.Data) && (len(bytes.TrimSpace(f.Data)) == 0 || bytes.HasPrefix(old.Data, f.Data)):
			all = append(all, loss{was: old, lost: old.Data[len(f.Data):], at: i})
		case !bytes.Equal(f.Data, old.Data):
			came = append(came, f.Data)
		}
	}
	for _, f := range had {
		if !after[f.Path] && f.Err == nil {
			all = append(all, loss{was: f, lost: f.Data, at: -1})
		}
	}
	return all, came
}

// left is how long what is lost now is still kept.
func (l *losses) left(all []loss, grace time.Duration) time.Duration {
	if len(all) == 0 {
		*l = losses{}
		return 0
	}
	paths := make(map[string]bool, len(all))
	for _, x := range all {
		paths[x.was.Path] = true
	}
	now := time.Now()
	if l.first.IsZero() {
		l.first = now
	}
	if !maps.Equal(paths, l.paths) {
		l.paths, l.last = paths, now
	}
	left := min(grace-now.Sub(l.last), time.Duration(mostGraces*float64(grace))-now.Sub(l.first))
	if left <= 0 {
		*l = losses{} // if more goes, that begins anew
	}
	return left
}

// lines are those of the texts, without the space around them.
func lines(texts [][]byte) map[string]bool {
	set := map[string]bool{}
	for _, text := range texts {
		for line := range bytes.Lines(text) {
			set[string(bytes.TrimSpace(line))] = true
		}
	}
	return set
}

// moved: every line of what was lost came somewhere else. What lines mean is not known here.
func moved(lost []byte, elsewhere map[string]bool) bool {
	for line := range bytes.Lines(lost) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !elsewhere[string(line)] {
			return false
		}
	}
	return true
}
