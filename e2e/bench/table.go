package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/spread"
)

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
	switch {
	case values == nil:
		return "–"
	case peer == Ours:
		return spread.Cell(values, nil)
	}
	return spread.Cell(values, spread.Ratios(r.figures(Ours, metric), values))
}
