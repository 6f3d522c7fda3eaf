package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a process and all its descendants.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			for _, word := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(word); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// threads are those of a process tree.
func threads(pid int) []int {
	var all []int
	for _, p := range tree(pid) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p))
		if err != nil {
			continue // it has ended
		}
		for _, e := range entries {
			if tid, err := strconv.Atoi(e.Name()); err == nil {
				all = append(all, tid)
			}
		}
	}
	return all
}

// pin puts all threads of a process tree on one CPU. A new thread inherits that of its maker, so what was made
// meanwhile is found by looking again.
func pin(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	for before := -1; ; {
		all := threads(pid)
		for _, tid := range all {
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("bench: pin %d to CPU %d: %w", tid, cpu, err)
			}
		}
		if len(all) == before {
			return nil
		}
		before = len(all)
	}
}

// cpuTime is what a process tree's threads have used, by the scheduler's account, in nanoseconds and not in ticks:
// the first figure of /proc/PID/task/TID/schedstat. A thread that has ended is not in it; none of the proxies ends
// threads while it serves.
func cpuTime(pid int) (time.Duration, error) {
	total := time.Duration(0)
	for _, p := range tree(pid) {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p))
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			word, _, _ := strings.Cut(string(text), " ")
			ns, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("bench: %s: %w", path, err)
			}
			total += time.Duration(ns)
		}
	}
	if total == 0 {
		return 0, fmt.Errorf("bench: process %d has used no CPU: is /proc/*/schedstat there?", pid)
	}
	return total, nil
}

// resident is the memory of a process tree in bytes: what is in RAM, pages that are shared counted by their share.
func resident(pid int) (int64, error) {
	total := int64(0)
	for _, p := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, fmt.Errorf("bench: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("bench: smaps_rollup: %w", err)
				}
				total += kb << 10
			}
		}
	}
	return total, nil
}
