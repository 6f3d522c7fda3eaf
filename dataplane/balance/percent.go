package balance

import "math/rand/v2"

// percent is what each hundredth of the requests gets.
type percent [100]uint8

// NewPercent draws an index in whole percents, which are of at most 256 and sum to 100. A hash is placed as Envoy places it:
// its rest by 100 goes to the first whose percents, with those before, are more.
func NewPercent(shares []int) Hashing {
	var p percent
	at := 0
	for i, share := range shares {
		for range share {
			p[at] = uint8(i)
			at++
		}
	}
	return &p
}

func (p *percent) Pick() int { return int(p[rand.IntN(len(p))]) }

func (p *percent) PickBy(hash uint64) int { return int(p[hash%uint64(len(p))]) }
