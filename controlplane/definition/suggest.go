package definition

import (
	"math"
	"strings"
)

// Nearest is the name that a misspelt one was probably meant to be; "" if none is near.
func Nearest(word string, names []string) string {
	best, bestDistance := "", len(word)/3+1
	for _, name := range names {
		if strings.EqualFold(word, name) {
			return name
		}
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < bestDistance || (d == bestDistance && best == "" && d <= 2) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, change or swap with the next, to make one word of another
// (optimal string alignment). Long words are far from everything.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return math.MaxInt
	}
	var rows [longest + 1][longest + 1]int
	for i := range len(a) + 1 {
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
