package balance

import (
	"math/bits"
	"net/netip"

	"github.com/cespare/xxhash/v2"
)

// The hashes are Envoy's: 64 bits of xxHash. https://xxhash.com

// Combine adds the hash of one more key to that of the keys before it, 0 for none, as Envoy's hash policies are combined:
// turned by one bit first, so that a key that stands twice does not cancel itself out.
func Combine(hash, next uint64) uint64 { return bits.RotateLeft64(hash, 1) ^ next }

// HashText is the hash of a text.
func HashText(text string) uint64 { return xxhash.Sum64String(text) }

// HashTexts is the hash of several texts in their order: each is seeded with the hash of those before it.
func HashTexts(texts []string) uint64 {
	var hash uint64
	for _, text := range texts {
		hash = seeded(text, hash)
	}
	return hash
}

func seeded(text string, seed uint64) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.WriteString(text) // never fails
	return d.Sum64()
}

// HashAddress is the hash of an IP address as it is written; IPv4 in IPv6 is IPv4.
func HashAddress(a netip.Addr) uint64 {
	var buf [64]byte
	return xxhash.Sum64(a.Unmap().AppendTo(buf[:0]))
}
