package crowd

import (
	"math/bits"
	"slices"
)

// set is a set of small numbers.
type set struct {
	words []uint64
	count int
}

func (s *set) has(i int) bool { return i>>6 < len(s.words) && s.words[i>>6]&(1<<(i&63)) != 0 }

// add tells whether i is new.
func (s *set) add(i int) bool {
	if s.has(i) {
		return false
	}
	for len(s.words) <= i>>6 {
		s.words = append(s.words, 0)
	}
	s.words[i>>6] |= 1 << (i & 63)
	s.count++
	return true
}

// remove tells whether i was there.
func (s *set) remove(i int) bool {
	if !s.has(i) {
		return false
	}
	s.words[i>>6] &^= 1 << (i & 63)
	s.count--
	return true
}

// all are its numbers, in order.
func (s *set) all() []int {
	var all []int
	for w, word := range s.words {
		for ; word != 0; word &= word - 1 {
			all = append(all, w<<6+bits.TrailingZeros64(word))
		}
	}
	return all
}

func (s *set) clone() set { return set{slices.Clone(s.words), s.count} }

// equal compares as sets: trailing zeros do not count.
func (s *set) equal(o *set) bool {
	if s.count != o.count {
		return false
	}
	for i := range max(len(s.words), len(o.words)) {
		var a, b uint64
		if i < len(s.words) {
			a = s.words[i]
		}
		if i < len(o.words) {
			b = o.words[i]
		}
		if a != b {
			return false
		}
	}
	return true
}
