package balance

import "math/rand/v2"

// random takes any of so many.
type random int

// NewRandom takes any of n endpoints, each as likely as another: to Envoy's random, too, weights mean nothing.
func NewRandom(n int) Picker {
	switch n {
	case 0:
		return none{}
	case 1:
		return single{}
	}
	return random(n)
}

func (n random) Pick() int { return rand.IntN(int(n)) }
