package controlplane

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage there may be for what is in use, in per cent. Go's own 100 lets a control plane hold twice what it
// needs all day, for CPU that it needs only with an edit: see ARCHITECTURE.md.
const gcPercent = 50

// SpareMemory has garbage collected more often than Go does by itself, in a process that is a control plane and nothing else;
// whoever sets GOGC has decided.
func SpareMemory() {
	if _, decided := os.LookupEnv("GOGC"); !decided {
		debug.SetGCPercent(gcPercent)
	}
}
