package authority

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// tokenPrefix tells people, and programs that look for leaked secrets, what it is.
const tokenPrefix = "sluice-join-1-"

// Token is a join token: a secret of 256 bits, and the SHA-256 of the root certificate that vouches for the control plane.
// So who joins knows it at the first contact, as with kubeadm's --discovery-token-ca-cert-hash.
type Token struct{ secret, Root [sha256.Size]byte }

func newToken(root [sha256.Size]byte) Token {
	t := Token{Root: root}
	_, _ = rand.Read(t.secret[:]) // never fails
	return t
}

// Text is the token as it travels: a secret.
func (t Token) Text() string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(t.secret[:], t.Root[:]...))
}

// String keeps it out of logs and errors.
func (Token) String() string { return tokenPrefix + "[redacted]" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

// ParseToken reads one. The error does not tell what was got.
func ParseToken(text string) (Token, error) {
	var t Token
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	data, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || len(data) != 2*sha256.Size {
		return t, errors.New("token: got something else, want a join token as 'sluice token create' prints it: " + tokenPrefix + "…")
	}
	copy(t.secret[:], data)
	copy(t.Root[:], data[sha256.Size:])
	return t, nil
}

// hash is what is kept. The secret is random and long, so a fast hash does.
func (t Token) hash() string {
	h := sha256.Sum256(t.secret[:])
	return hex.EncodeToString(h[:])
}
