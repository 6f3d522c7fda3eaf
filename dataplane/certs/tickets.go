package certs

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Tickets is where session ticket keys come from.
type Tickets struct {
	// own is set for a process's own keys, which nobody else has; else shared are a fleet's.
	own    *tls.Config
	shared []config.Secret
}

// NewTickets makes a source with fresh keys. All Servers of a process share one, so that a session resumes after a
// reload. Keys are random, and rotate daily; crypto/tls keeps a key for a week.
func NewTickets() *Tickets { return &Tickets{own: &tls.Config{}} }

// SharedTickets is a source with the keys of a fleet: a session resumes on all its proxies, and after a restart. The
// first key encrypts, all decrypt.
func SharedTickets(keys *config.TicketKeys) *Tickets { return &Tickets{shared: keys.Keys} }

// resume lets sessions be resumed within the scope. old, which may be nil, is what was served before.
func (s *served) resume(old *served) {
	if s.tickets.own != nil {
		within := []byte("sluice " + s.scope)
		s.config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
			session.Extra = append(session.Extra, within)
			return s.tickets.own.EncryptTicket(state, session)
		}
		s.config.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
			session, err := s.tickets.own.DecryptTicket(identity, state)
			if session == nil || err != nil {
				return nil, err
			}
			for _, extra := range session.Extra {
				if bytes.Equal(extra, within) {
					return session, nil
				}
			}
			return nil, nil
		}
		return
	}
	if old != nil && old.tickets == s.tickets && old.scope == s.scope {
		s.keys = old.keys
	} else {
		for _, key := range s.tickets.shared {
			s.keys = append(s.keys, derive(key, s.scope))
		}
	}
	s.config.SetSessionTicketKeys(s.keys)
}

// derive makes the key of one scope (RFC 5869, with SHA-256), as long as crypto/tls wants it: a ticket of another scope
// cannot be decrypted, and no two scopes encrypt with one key. All Go proxies must derive alike, so this never changes.
func derive(key config.Secret, scope string) (out [32]byte) {
	made, err := hkdf.Key(sha256.New, key, nil, "sluice session tickets: "+scope, len(out))
	if err != nil {
		panic(err) // only for a length beyond 255 hashes, or a key that FIPS mode finds too short
	}
	copy(out[:], made)
	return out
}
