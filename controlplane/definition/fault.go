package definition

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// faultFrames is how many callers a problem of our own making names.
const faultFrames = 3

// parseChunk is readChunk, but for that a fault of ours is a problem of the one document at which it came to light: a control
// plane must outlive it, and the other documents go on.
func parseChunk(file string, c chunk) (document *Document, problems []Problem) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		d := &decoder{file: file, line: c.line, ref: guessRef(c.text)}
		d.add(d.start(), "", CodeFault, fmt.Sprintf("Sluice failed at this document, which is a fault of ours: %v, at %s", value, panicked()))
		document, problems = nil, d.problems
	}()
	return readChunk(file, c)
}

// panicked is where the panic that was just recovered from began, and who called: definition/judge.go:42.
func panicked() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	var at []string
	for begun := false; len(at) < faultFrames; {
		f, more := frames.Next()
		ours := !strings.HasPrefix(f.Function, "runtime.")
		if begun = begun || f.Function == "runtime.gopanic"; begun && ours {
			dir, name := filepath.Split(f.File)
			at = append(at, fmt.Sprintf("%s/%s:%d", filepath.Base(dir), name, f.Line))
		}
		if !more {
			break
		}
	}
	return strings.Join(at, ", from ")
}
