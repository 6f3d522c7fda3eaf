package route

import (
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Split shares requests, or connections, out among clusters by their weights. Read-only once made.
type Split struct {
	// names are the clusters; numbers are theirs in Table.Clusters.
	names   []string
	numbers []int32
	// sums[i] is the sum of the weights up to and with i; nil if there is at most one cluster.
	sums []uint64
}

// NewSplit sums the weights up, once. One cluster is chosen whatever its weight; of several at least one must have
// some (decode sees to it).
func NewSplit(clusters []config.WeightedCluster) *Split {
	s := &Split{names: make([]string, len(clusters))}
	if len(clusters) > 1 {
		s.sums = make([]uint64, len(clusters))
	}
	var total uint64
	for i, c := range clusters {
		s.names[i] = c.Name
		if s.sums != nil {
			total += uint64(c.Weight)
			s.sums[i] = total
		}
	}
	return s
}

// splitter makes the splits of a table. Those of one cluster, which are most, are shared.
type splitter struct {
	names   []string
	numbers map[string]int32
	single  map[string]*Split
}

// clone can be added to, while others read s.
func (s *splitter) clone() splitter {
	return splitter{names: slices.Clip(s.names), numbers: maps.Clone(s.numbers), single: maps.Clone(s.single)}
}

// of is nil for a route without clusters.
func (s *splitter) of(clusters []config.WeightedCluster) *Split {
	if len(clusters) == 0 {
		return nil
	}
	if len(clusters) == 1 && s.single[clusters[0].Name] != nil {
		return s.single[clusters[0].Name]
	}
	split := NewSplit(clusters)
	split.numbers = make([]int32, len(clusters))
	for i, c := range clusters {
		split.numbers[i] = s.number(c.Name)
	}
	if len(clusters) == 1 {
		s.single[clusters[0].Name] = split
	}
	return split
}

// number is a cluster's in Table.Clusters.
func (s *splitter) number(name string) int32 {
	number, known := s.numbers[name]
	if !known {
		number = int32(len(s.names))
		s.numbers[name] = number
		s.names = append(s.names, name)
	}
	return number
}

// Pick chooses by weight the name of a cluster: random is any number, evenly drawn. It is "" if there is none to choose.
func (s *Split) Pick(random uint64) string {
	if i := s.pick(random); i >= 0 {
		return s.names[i]
	}
	return ""
}

// pick is the index that Envoy takes for the same random number: the first whose sum is above the remainder.
func (s *Split) pick(random uint64) int {
	if s.sums == nil {
		return len(s.names) - 1
	}
	total := s.sums[len(s.sums)-1]
	if total == 0 {
		return -1
	}
	at := random % total
	low, high := 0, len(s.sums)-1
	for low < high {
		if mid := int(uint(low+high) >> 1); s.sums[mid] > at {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
