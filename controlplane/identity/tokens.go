package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
)

const (
	// minToken is how long a token must be: 32 characters of base64 are 192 bits.
	minToken = 32
	// maxTokens bounds those in one file: two while one takes another's place, and some.
	maxTokens    = 100
	maxTokenFile = 64 << 10
	// reread is how old what is known of a file may be.
	reread = time.Second
)

// Tokens are the tokens in a file, one a line; lines that begin with # are comments. The file is read again when it
// changes; while what is there is bad, the last good ones hold.
type Tokens struct {
	path   string       // read-only
	logger *slog.Logger // read-only

	// Guarded by mu.
	mu     sync.Mutex
	hashes [][sha256.Size]byte
	looked time.Time
	failed string
}

// OpenTokens reads a file.
func OpenTokens(path string, logger *slog.Logger) (*Tokens, error) {
	t := &Tokens{path: path, logger: logger, looked: time.Now()}
	var err error
	if t.hashes, err = readTokens(path); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return t, nil
}

// MakeTokens is OpenTokens of a file that is made, with one random token of 256 bits, if it is not there.
func MakeTokens(path string, logger *slog.Logger) (*Tokens, error) {
	if _, err := secretfile.Read(path, maxTokenFile); errors.Is(err, fs.ErrNotExist) {
		var secret [32]byte
		_, _ = rand.Read(secret[:]) // never fails
		if err := secretfile.Write(path, []byte("sluice-api-1-"+base64.RawURLEncoding.EncodeToString(secret[:])+"\n")); err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
	}
	return OpenTokens(path, logger)
}

// ReadToken reads the one token that a client sends: the first in a file.
func ReadToken(path string) (string, error) {
	tokens, err := tokenLines(path)
	if err != nil {
		return "", err
	}
	return tokens[0], nil
}

func tokenLines(path string) ([]string, error) {
	text, err := secretfile.Read(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	var tokens []string
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case len(line) < minToken || strings.ContainsAny(line, " \t"):
			return nil, fmt.Errorf("%s:%d: want a token of at least %d characters without spaces", path, n, minToken)
		default:
			tokens = append(tokens, line)
		}
	}
	if len(tokens) == 0 || len(tokens) > maxTokens {
		return nil, fmt.Errorf("%s: got %d tokens, want 1 to %d", path, len(tokens), maxTokens)
	}
	return tokens, nil
}

func readTokens(path string) ([][sha256.Size]byte, error) {
	lines, err := tokenLines(path)
	if err != nil {
		return nil, err
	}
	var hashes [][sha256.Size]byte
	for _, line := range lines {
		hashes = append(hashes, sha256.Sum256([]byte(line)))
	}
	return hashes, nil
}

// have tells whether a token is one of them, in a time that does not depend on how much of it is right. Nil has none.
func (t *Tokens) have(token string) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	if now := time.Now(); now.Sub(t.looked) >= reread {
		t.looked = now
		t.again()
	}
	hashes := t.hashes
	t.mu.Unlock()
	given, found := sha256.Sum256([]byte(token)), 0
	for _, h := range hashes {
		found |= subtle.ConstantTimeCompare(h[:], given[:])
	}
	return found == 1
}

// again reads the file anew; what is wrong with it is logged once.
func (t *Tokens) again() {
	fresh, err := readTokens(t.path)
	if err == nil {
		t.hashes, t.failed = fresh, ""
		return
	}
	if t.failed != err.Error() {
		t.failed = err.Error()
		t.logger.Warn("identity: the tokens of before hold on", "error", err)
	}
}
