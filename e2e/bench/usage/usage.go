// Package usage tells what processes have used: CPU and memory, as the kernel counts them in /proc.
//
// In: a process id. Out: figures. It must not know what the process is for.
package usage

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

// Threads are those of a process tree.
func Threads(pid int) []int {
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

// Pin puts all threads of a process tree on one CPU. A new thread inherits that of its maker, so what was made
// meanwhile is found by looking again.
func Pin(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	for before := -1; ; {
		all := Threads(pid)
		for _, tid := range all {
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("usage: pin %d to CPU %d: %w", tid, cpu, err)
			}
		}
		if len(all) == before {
			return nil
		}
		before = len(all)
	}
}

// CPU is what a process tree's threads have used, by the scheduler's account, in nanoseconds and not in ticks:
// the first figure of /proc/PID/task/TID/schedstat. A thread that has ended is not in it; none of the proxies ends
// threads while it serves.
func CPU(pid int) (time.Duration, error) {
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
				return 0, fmt.Errorf("usage: %s: %w", path, err)
			}
			total += time.Duration(ns)
		}
	}
	if total == 0 {
		return 0, fmt.Errorf("usage: process %d has used no CPU: is /proc/*/schedstat there?", pid)
	}
	return total, nil
}

// Resident is the memory of a process tree in bytes: what is in RAM, pages that are shared counted by their share.
func Resident(pid int) (int64, error) {
	total := int64(0)
	for _, p := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, fmt.Errorf("usage: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("usage: smaps_rollup: %w", err)
				}
				total += kb << 10
			}
		}
	}
	return total, nil
}

// RSS is a process's resident memory in bytes, and the most that it was since ResetPeak.
func RSS(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("usage: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		for name, value := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("usage: status: %w", err)
				}
				*value = kb << 10
			}
		}
	}
	return now, peak, nil
}

// ResetPeak makes RSS's peak begin anew.
func ResetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	return nil
}
