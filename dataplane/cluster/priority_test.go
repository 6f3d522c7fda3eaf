package cluster

import (
	"reflect"
	"testing"
)

// TestSpread holds the arithmetic against what Envoy 1.40 did with such endpoints: 1000 requests each, to within what chance
// allows.
func TestSpread(t *testing.T) {
	of := func(healthy, all int) level { return level{all: all, healthy: healthy} }
	for name, c := range map[string]struct {
		levels    []level
		threshold int
		shares    []int
		panicking []bool
	}{
		"nobody":                    {[]level{{}}, 0, []int{100}, []bool{false}},
		"nobody, with panic":        {[]level{{}}, 50, []int{100}, []bool{true}},
		"all healthy":               {[]level{of(5, 5), of(5, 5)}, 0, []int{100, 0}, []bool{false, false}},
		"80 % is enough":            {[]level{of(4, 5), of(5, 5)}, 0, []int{100, 0}, []bool{false, false}},
		"60 % is not":               {[]level{of(3, 5), of(5, 5)}, 0, []int{84, 16}, []bool{false, false}},
		"40 %":                      {[]level{of(2, 5), of(5, 5)}, 0, []int{56, 44}, []bool{false, false}},
		"20 %":                      {[]level{of(1, 5), of(5, 5)}, 0, []int{28, 72}, []bool{false, false}},
		"none":                      {[]level{of(0, 5), of(5, 5)}, 0, []int{0, 100}, []bool{false, false}},
		"all is lost":               {[]level{of(0, 5), of(0, 5)}, 0, []int{100, 0}, []bool{false, false}},
		"less than 100 %":           {[]level{of(2, 5), of(1, 5)}, 0, []int{67, 33}, []bool{false, false}},
		"more than 100 %":           {[]level{of(1, 5), of(3, 5)}, 0, []int{28, 72}, []bool{false, false}},
		"three":                     {[]level{of(1, 4), of(1, 4), of(1, 4)}, 0, []int{35, 35, 30}, []bool{false, false, false}},
		"three, one without":        {[]level{of(1, 7), of(0, 7), of(1, 7)}, 0, []int{50, 0, 50}, []bool{false, false, false}},
		"empty, then healthy":       {[]level{{}, of(3, 3)}, 50, []int{0, 100}, []bool{false, false}},
		"spared by the next":        {[]level{of(1, 5), of(5, 5)}, 50, []int{28, 72}, []bool{false, false}},
		"just enough together":      {[]level{of(1, 5), of(3, 5)}, 50, []int{28, 72}, []bool{false, false}},
		"both in panic":             {[]level{of(2, 5), of(1, 5)}, 50, []int{50, 50}, []bool{true, true}},
		"panic goes by size":        {[]level{of(0, 3), of(0, 5)}, 50, []int{38, 62}, []bool{true, true}},
		"panic goes by size, too":   {[]level{of(0, 2), of(1, 4)}, 50, []int{34, 66}, []bool{true, true}},
		"three in panic":            {[]level{of(1, 7), of(0, 7), of(1, 7)}, 50, []int{34, 33, 33}, []bool{true, true, true}},
		"empty, then in panic":      {[]level{{}, of(1, 3)}, 50, []int{0, 100}, []bool{true, true}},
		"one of two in panic":       {[]level{of(1, 5), of(1, 2)}, 50, []int{29, 71}, []bool{true, false}},
		"at the threshold":          {[]level{of(1, 5), of(1, 2)}, 20, []int{29, 71}, []bool{false, false}},
		"below the threshold":       {[]level{of(1, 5), of(1, 2)}, 21, []int{29, 71}, []bool{true, false}},
		"one alone":                 {[]level{of(1, 10)}, 50, []int{100}, []bool{true}},
		"one alone, half":           {[]level{of(5, 10)}, 50, []int{100}, []bool{false}},
		"draining is no failure":    {[]level{{all: 3, draining: 2, healthy: 1}, of(3, 3)}, 50, []int{100, 0}, []bool{false, false}},
		"beside a failure":          {[]level{{all: 4, draining: 2, healthy: 1}, of(3, 3)}, 50, []int{70, 30}, []bool{false, false}},
		"all drain":                 {[]level{{all: 2, draining: 2}}, 0, []int{100}, []bool{false}},
		"all drain, and panic":      {[]level{{all: 2, draining: 2}}, 50, []int{100}, []bool{true}},
		"all drain, the next helps": {[]level{{all: 3, draining: 3}, of(1, 2)}, 50, []int{0, 100}, []bool{true, false}},
		"panic counts the draining": {[]level{{all: 5, draining: 2, healthy: 1}, of(0, 3)}, 50, []int{63, 37}, []bool{true, true}},
	} {
		shares, panicking := spread(c.levels, c.threshold)
		if !reflect.DeepEqual(shares, c.shares) || !reflect.DeepEqual(panicking, c.panicking) {
			t.Errorf("%s: got %v %v, want %v %v", name, shares, panicking, c.shares, c.panicking)
		}
	}
}
