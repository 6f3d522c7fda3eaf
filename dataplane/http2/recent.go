package http2

import "slices"

// maxRecent is how many streams are remembered that we reset; all that were open may be at once.
const maxRecent = 128

// recentStreams are the last streams that we reset: what the client sent before it read of that is ignored (RFC 9113,
// 5.1). Of earlier ones nothing should come any more.
type recentStreams struct {
	ids  []uint32
	next int
}

func (r *recentStreams) add(id uint32) {
	if len(r.ids) < maxRecent {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % maxRecent
}

func (r *recentStreams) has(id uint32) bool { return slices.Contains(r.ids, id) }
