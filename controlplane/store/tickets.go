package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const (
	// rotateTickets is how long a key encrypts TLS session tickets. As long before that all proxies have it, to decrypt.
	rotateTickets = 24 * time.Hour
	// oldTickets is how many keys go on decrypting after their time: a session can be resumed for 48 hours at least.
	oldTickets = 2
)

// tickets are the session ticket keys of one fleet, kept on disk as they are.
type tickets struct {
	// Rotated is when the first key began to encrypt.
	Rotated time.Time `json:"rotated"`
	// Keys: the one that encrypts, the next one, and those before, the newest first.
	Keys [][]byte `json:"keys"`
}

type ticketsRecord struct {
	Fleet string `json:"fleet"`
	tickets
}

// TicketKeys are the session ticket keys of the fleets that there are; those of others are forgotten. In each list the
// first key encrypts and all decrypt. A key comes second for a day before it is the first, so that whatever proxy
// encrypts with it, all others of the fleet can decrypt. Without a folder, a restart makes new ones.
func (s *Store) TicketKeys(fleets []string) map[string][]ir.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, out := make(map[string]*tickets, len(fleets)), make(map[string][]ir.Secret, len(fleets))
	for _, fleet := range fleets {
		t := s.tickets[fleet]
		if t == nil {
			t = &tickets{Rotated: s.now().UTC(), Keys: [][]byte{newTicketKey(), newTicketKey()}}
			s.dirtyTickets = true
		} else if t.due(s.now()) {
			t = t.rotate(s.now())
			s.dirtyTickets = true
		}
		next[fleet] = t
		for _, key := range t.Keys {
			out[fleet] = append(out[fleet], ir.Secret(key))
		}
	}
	if len(next) < len(s.tickets) {
		s.dirtyTickets = true
	}
	s.tickets = next
	return out
}

// due: also when the clock was set back, so that a time in the future does not stop the rotation.
func (t *tickets) due(now time.Time) bool {
	age := now.Sub(t.Rotated)
	return age >= rotateTickets || age <= -rotateTickets
}

// rotate makes one step, however long the last was ago: proxies know the second key, and no later one.
func (t *tickets) rotate(now time.Time) *tickets {
	keys := [][]byte{t.Keys[1], newTicketKey(), t.Keys[0]}
	keys = append(keys, t.Keys[2:]...)
	return &tickets{Rotated: now.UTC(), Keys: keys[:min(len(keys), 2+oldTickets)]}
}

func newTicketKey() []byte {
	key := make([]byte, ir.TicketKeySize)
	_, _ = rand.Read(key) // it never fails
	return key
}

// NewTicketKeys are throw-away keys, for who shows what a fleet gets and serves no proxy.
func NewTicketKeys() []ir.Secret { return []ir.Secret{newTicketKey(), newTicketKey()} }

func (s *Store) takeTickets(line []byte) error {
	var r ticketsRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	if len(r.Keys) < 2 || len(r.Keys) > 2+oldTickets {
		return fmt.Errorf("got %d keys, want 2 to %d", len(r.Keys), 2+oldTickets)
	}
	for i, key := range r.Keys {
		if len(key) != ir.TicketKeySize || bytes.Equal(key, make([]byte, ir.TicketKeySize)) {
			return fmt.Errorf("key %d: got %d bytes, want %d", i, len(key), ir.TicketKeySize)
		}
	}
	s.tickets[r.Fleet] = &r.tickets
	return nil
}
