package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// The state folder holds files of lines, each `<16 hex digits of the SHA-256 of the rest> <JSON>`, so that damage
// costs one line. The first line is a header, which tells a file that was cut short.
const (
	documentsFile    = "documents.jsonl"
	certificatesFile = "certificates.jsonl"
	socketsFile      = "sockets.jsonl"
	ticketsFile      = "tickets.jsonl"
	answersFile      = "answers.jsonl"
	temporary        = ".new-*"
	// newestFormat is 2, of a file of documents, which may have changes behind it; all others are of 1.
	newestFormat = 2
)

type header struct {
	Format  int `json:"sluiceState"`
	Records int `json:"records"`
}

// socketRecord says who is served on a socket, the built-in Gateway too: it has it after a restart.
type socketRecord struct {
	Fleet         string         `json:"fleet"`
	Address       ir.Address     `json:"address"`
	Gateway       string         `json:"gateway"`
	Protocol      string         `json:"protocol"`
	ProxyProtocol ir.ProxyHeader `json:"proxyProtocol,omitempty"`
}

type certificateRecord struct {
	Name string `json:"name"`
	certificate
}

// Save writes what changed since the last Save. Without a folder it does nothing.
func (s *Store) Save() error {
	if s.dir == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What was not proven yet comes first: what is not there is taken for proven.
	if err := s.saveQuarantine(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := s.saveDocuments(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if s.dirtySockets {
		var records []any
		for k := range s.sockets {
			records = append(records, socketRecord{k.Fleet, k.Address, k.Gateway, k.Protocol.String(), k.ProxyProtocol})
		}
		if err := writeRecords(filepath.Join(s.dir, socketsFile), records); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		s.dirtySockets = false
	}
	if s.dirtyTickets {
		var records []any
		for fleet, t := range s.tickets {
			records = append(records, ticketsRecord{fleet, *t})
		}
		if err := writeRecords(filepath.Join(s.dir, ticketsFile), records); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		s.dirtyTickets = false
	}
	if s.dirtyAnswers {
		var records []any
		for name, answer := range s.answers {
			records = append(records, answerRecord{name, answer})
		}
		if err := writeRecords(filepath.Join(s.dir, answersFile), records); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		s.dirtyAnswers = false
	}
	if s.dirtyRevisions {
		var records []any
		for _, r := range s.revisions {
			records = append(records, r)
		}
		if err := writeRecords(filepath.Join(s.dir, revisionsFile), records); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		s.dirtyRevisions = false
	}
	c := s.certs
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty {
		var records []any
		for name, cert := range c.good {
			records = append(records, certificateRecord{name, cert})
		}
		if err := writeRecords(filepath.Join(s.dir, certificatesFile), records); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		c.dirty = false
	}
	return nil
}

// Close lets go of the state folder. What was not saved is lost.
func (s *Store) Close() error { return s.lock.close() }

// Certificates are the bytes of certificates, as they are served.
func (s *Store) Certificates() *Certificates { return s.certs }

// load reads the folder. Damage is logged, and taken for what it is: a last good version less.
func (s *Store) load() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	lock, err := lockFolder(s.dir)
	if err != nil {
		return err
	}
	s.lock = lock
	// What a crash left half-written is of no use, and may hold keys.
	leftovers, _ := filepath.Glob(filepath.Join(s.dir, temporary))
	for _, path := range leftovers {
		_ = os.Remove(path)
	}
	err = s.readRecords(documentsFile, s.takeDocuments)
	if err == nil {
		err = s.readRecords(socketsFile, func(line []byte) error {
			var r socketRecord
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			if s.sockets == nil {
				s.sockets = map[compile.Socket]bool{}
			}
			s.sockets[compile.Socket{
				Fleet: r.Fleet, Address: r.Address, Gateway: r.Gateway, Protocol: sluicev1.Listener_Protocol(sluicev1.Listener_Protocol_value[r.Protocol]),
				ProxyProtocol: r.ProxyProtocol,
			}] = true
			return nil
		})
	}
	if err == nil {
		err = s.readRecords(certificatesFile, func(line []byte) error {
			var r certificateRecord
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			if len(r.Authorities) > 0 {
				if _, err := compile.CheckAuthorities(r.Authorities); err != nil {
					return err
				}
			} else if _, bad := compile.CheckCertificate(r.Chain, r.Key); bad != nil {
				return bad
			}
			s.certs.good[r.Name] = r.certificate
			return nil
		})
	}
	if err == nil {
		err = s.readRecords(ticketsFile, s.takeTickets)
	}
	if err == nil {
		err = s.readRecords(answersFile, s.takeAnswer)
	}
	if err == nil {
		err = s.readRecords(revisionsFile, s.takeRevision)
	}
	if err == nil {
		err = s.readRecords(quarantineFile, s.takeQuarantined)
	}
	if err != nil {
		lock.close()
	}
	return err
}

// readRecords calls take for each line that is whole. Only a folder that cannot be read is an error.
func (s *Store) readRecords(name string, take func(line []byte) error) error {
	path := filepath.Join(s.dir, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	damaged := func(line int, err error) {
		s.log.Warn("the state folder is damaged, and this is left out", "file", path, "line", line, "error", err)
	}
	want, got := -1, 0
	for number, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		body, err := openLine([]byte(line))
		switch {
		case err != nil:
			if name == documentsFile && want >= 0 && got >= want {
				err = fmt.Errorf("%w: of documents that changed with it, what was before is taken for the last good version", err)
			}
			damaged(number+1, err)
		case number == 0:
			var h header
			if err := json.Unmarshal(body, &h); err != nil || h.Format < 1 || h.Format > newestFormat {
				s.log.Warn("the state file is of another version, and left out", "file", path)
				return nil
			}
			want = h.Records
			continue
		default:
			if err := take(body); err != nil {
				damaged(number+1, err)
			}
		}
		got++
	}
	if want >= 0 && got != want && (got < want || name != documentsFile) {
		damaged(got+1, fmt.Errorf("got %d records, want %d", got, want))
	}
	return nil
}

func sum(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:8])
}

func openLine(line []byte) ([]byte, error) {
	want, body, ok := bytes.Cut(line, []byte(" "))
	if !ok || sum(body) != string(want) {
		return nil, errors.New("the checksum does not fit")
	}
	return body, nil
}

// writeRecords writes a file so that it is either the old one or the new one, whatever happens.
func writeRecords(path string, records []any) error {
	var lines []string
	for _, r := range records {
		line, err := closedLine(r)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return writeLines(path, 1, lines)
}

// closedLine is a record as a line, with its checksum.
func closedLine(record any) (string, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return "", err
	}
	return sum(body) + " " + string(body) + "\n", nil
}

func writeLines(path string, format int, lines []string) error {
	first, err := closedLine(header{Format: format, Records: len(lines)})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporary) // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 256<<10)
	_, _ = w.WriteString(first) // what goes wrong is told by Flush
	for _, line := range lines {
		_, _ = w.WriteString(line)
	}
	err = errors.Join(w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Accepted are the last good versions, by name.
func (s *Store) Accepted() map[definition.Ref]*definition.Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.accepted)
}
