package balance

// PickNth is the endpoint that a hash gets when the n before have been turned down: PickBy for 0. Those that follow may be
// the same; the same hash and n get the same endpoint, in every proxy of either kind. As with Envoy it is the owner of the nth
// point after the hash's own.
func (p *ringHash) PickNth(hash uint64, n int) int {
	return int(p.owners[(p.find(hash)+n)%len(p.owners)])
}

// PickNth is as a ring's. There is nothing that follows in a table, so as with Envoy the hash is another each time.
func (p maglev) PickNth(hash uint64, n int) int {
	if n > 0 {
		hash ^= -uint64(n)
	}
	return p.PickBy(hash)
}
