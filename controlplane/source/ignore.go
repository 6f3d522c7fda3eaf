package source

import "strings"

// ignored says whether a name is hidden or an editor's temporary file: Vim's .x.swp and 4913, Emacs's #x# and .#x,
// backups with ~, and half-written downloads. Kubernetes's ..data is hidden too: it counts only as a link on the way
// to a file.
func ignored(name string) bool {
	switch {
	case name == "", name == "4913":
		return true
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "#"):
		return true
	case strings.HasSuffix(name, "~"), strings.HasSuffix(name, ".swp"), strings.HasSuffix(name, ".swx"),
		strings.HasSuffix(name, ".tmp"), strings.HasSuffix(name, ".bak"), strings.HasSuffix(name, ".part"):
		return true
	}
	return false
}
