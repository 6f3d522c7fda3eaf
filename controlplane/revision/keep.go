package revision

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// record is a line of what is kept: one of these.
type record struct {
	Revision *Revision `json:"revision,omitempty"`
	Pin      *pin      `json:"pin,omitempty"`
}

// Keep hands what is to be kept to the store, for its next Save.
func (h *History) Keep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dirty {
		return
	}
	h.dirty = false
	var records []json.RawMessage
	line := func(r record) json.RawMessage {
		text, err := json.Marshal(r)
		if err != nil { // there is nothing in it that could not be
			h.opts.Logger.Error("a revision cannot be kept", "error", err)
		}
		return text
	}
	for _, r := range h.revisions {
		if r.line == nil {
			r.line = line(record{Revision: r})
		}
		records = append(records, r.line)
	}
	for _, p := range h.pins {
		records = append(records, line(record{Pin: p}))
	}
	h.opts.Store.KeepRevisions(records)
}

func (h *History) load(lines []json.RawMessage) {
	for _, line := range lines {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			h.opts.Logger.Warn("a kept revision cannot be read, and is left out", "error", err)
			continue
		}
		switch {
		case r.Revision != nil:
			h.revisions = append(h.revisions, r.Revision)
			h.last = max(h.last, r.Revision.Number)
		case r.Pin != nil:
			if err := r.Pin.parse(); err != nil {
				h.opts.Logger.Error("an undo ends: its version of the document cannot be read", "document", r.Pin.ref().String(), "error", err)
				continue
			}
			h.pins = append(h.pins, r.Pin)
		}
	}
	slices.SortFunc(h.revisions, func(a, b *Revision) int { return cmp.Compare(a.Number, b.Number) })
	sortPins(h.pins)
}

func (p *pin) parse() (err error) {
	if p.Serve != nil {
		p.document, err = store.Restore(p.ref(), p.Serve.File, p.Serve.Line, p.Serve.Text)
	}
	return err
}

func sortPins(pins []*pin) {
	slices.SortFunc(pins, func(a, b *pin) int { return definition.CompareRefs(a.ref(), b.ref()) })
}
