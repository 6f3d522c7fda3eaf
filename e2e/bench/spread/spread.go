// Package spread says in few digits what several measurements of one thing were.
//
// In: values. Out: their median, minimum and maximum, and text. It must not know what was measured.
package spread

import (
	"fmt"
	"slices"
)

// Spread is a median with its minimum and maximum.
type Spread struct{ Median, Min, Max float64 }

// Of is that of some values, at least one.
func Of(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median := sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return Spread{median, sorted[0], sorted[n-1]}
}

// Ratios are a value of ours to the one of theirs that was measured beside it: what is noise to both cancels out.
func Ratios(ours, theirs []float64) []float64 {
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			all = append(all, ours[i]/theirs[i])
		}
	}
	return all
}

// Number has three digits that say something.
func Number(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

// Cell is theirs in a table: the median, and the median of the ratios with the least and the greatest; ours is the
// median alone, for which ratios are nil.
func Cell(values, ratios []float64) string {
	text := Number(Of(values).Median)
	if ratios != nil {
		s := Of(ratios)
		text += fmt.Sprintf(" · **%.2f** (%.2f–%.2f)", s.Median, s.Min, s.Max)
	}
	return text
}
