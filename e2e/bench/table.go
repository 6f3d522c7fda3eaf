package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// spread is a median with its minimum and maximum.
type spread struct{ median, min, max float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median := sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return spread{median, sorted[0], sorted[n-1]}
}

// figures are a peer's for a metric, one for each round; nil if it has none.
func (r *Result) figures(peer, metric string) []float64 {
	var all []float64
	for _, f := range r.Rounds[peer] {
		if v, ok := f[metric]; ok {
			all = append(all, v)
		}
	}
	return all
}

// ratios are ours to a peer's within the same round: what is noise to both cancels out.
func (r *Result) ratios(peer, metric string) []float64 {
	ours, theirs := r.figures(Ours, metric), r.figures(peer, metric)
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			all = append(all, ours[i]/theirs[i])
		}
	}
	return all
}

// Header is the table's head; peers are its columns after ours.
func Header() string {
	line := "| what | unit |"
	rule := "|---|---|"
	for _, peer := range PeerNames {
		line += " " + peer + " |"
		rule += "---|"
	}
	return line + " rounds, day |\n" + rule + "---|\n"
}

// Text is the row's lines in the table, one for each metric that it has.
func (r *Result) Text() string {
	var b strings.Builder
	for _, m := range metrics {
		ours := r.figures(Ours, m.Name)
		if ours == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s (`%s`) | %s |", r.Row.Title, r.Row.Name, m.Unit)
		for _, peer := range PeerNames {
			fmt.Fprintf(&b, " %s |", r.cell(peer, m.Name))
		}
		fmt.Fprintf(&b, " %d, %s |\n", len(ours), time.Now().Format(time.DateOnly))
	}
	return b.String()
}

// cell is a peer's median, and ours divided by it: the median of the rounds' ratios, their minimum and maximum.
func (r *Result) cell(peer, metric string) string {
	values := r.figures(peer, metric)
	if values == nil {
		return "–"
	}
	text := number(spreadOf(values).median)
	if ratios := r.ratios(peer, metric); peer != Ours && ratios != nil {
		s := spreadOf(ratios)
		text += fmt.Sprintf(" · **%.2f** (%.2f–%.2f)", s.median, s.min, s.max)
	}
	return text
}

// number has three digits that say something.
func number(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
