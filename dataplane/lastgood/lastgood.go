// Package lastgood keeps the last good configuration of a proxy on disk, so that it serves after a restart although no
// control plane answers.
//
// In: what serves, as the control plane sent it. Out: a file, and the same again. It must not know what a resource means.
//
// The file holds private keys as they came. It is for its owner alone (0600), written beside its old self and put in its
// place when all of it is on disk, and holds a sum of itself: what is damaged, or of another node, is refused whole.
package lastgood

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/client"
)

const (
	// name is the file's; magic are its first bytes: what it is, and in which form.
	name  = "last-good"
	magic = "sluice last good configuration, form 1\n"
	// maxSize is how large a file is read, in bytes.
	maxSize = 1 << 30
)

// Node is who the configuration is for, as the control plane knows it.
type Node struct{ ID, Cluster string }

// Saved is a configuration and when it was written.
type Saved struct {
	At      time.Time
	Updates []client.Update
}

// Load reads the file of a folder. It is nil without an error if there is none. An error says what is wrong with it, and
// that it is ignored.
func Load(dir string, node Node) (*Saved, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var data []byte
	if err == nil {
		if info.Size() > maxSize {
			err = fmt.Errorf("got %d bytes, want %d at most", info.Size(), maxSize)
		} else {
			data, err = os.ReadFile(path)
		}
	}
	var saved *Saved
	if err == nil {
		saved, err = decode(data, node)
	}
	if err != nil {
		return nil, fmt.Errorf("last good configuration %s is ignored: %w", path, err)
	}
	return saved, nil
}

// encode makes a file's bytes: magic, a sum of what follows, then the node, the time, and the resources, each string with
// its length in front.
func encode(node Node, s *Saved) []byte {
	var b []byte
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(node.ID)
	text(node.Cluster)
	b = binary.AppendUvarint(b, uint64(max(0, s.At.Unix())))
	b = binary.AppendUvarint(b, uint64(len(s.Updates)))
	for _, u := range s.Updates {
		text(u.TypeURL)
		b = binary.AppendUvarint(b, uint64(len(u.Resources)))
		for _, r := range u.Resources {
			text(r.Name)
			text(r.Version)
			text(string(r.Body.GetValue()))
		}
	}
	return append(append([]byte(magic), sumOf(b)...), b...)
}

func sumOf(content []byte) []byte {
	sum := sha256.Sum256(content)
	return sum[:]
}

// decode is the other way.
func decode(data []byte, node Node) (*Saved, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, errors.New("got another kind of file, or another form of it")
	}
	if len(rest) < sha256.Size || !bytes.Equal(sumOf(rest[sha256.Size:]), rest[:sha256.Size]) {
		return nil, errors.New("it is damaged: its sum is not that of its content")
	}
	r := reader{rest: rest[sha256.Size:]}
	if of := (Node{ID: r.text(), Cluster: r.text()}); of != node && r.err == nil {
		return nil, fmt.Errorf("it is of node %q of fleet %q, and this is node %q of fleet %q", of.ID, of.Cluster, node.ID, node.Cluster)
	}
	s := &Saved{At: time.Unix(int64(r.number()), 0)}
	for range r.number() {
		u := client.Update{TypeURL: r.text()}
		for range r.number() {
			u.Resources = append(u.Resources, client.Resource{Name: r.text(), Version: r.text(),
				Body: &anypb.Any{TypeUrl: u.TypeURL, Value: []byte(r.text())}})
			if r.err != nil {
				return nil, r.err
			}
		}
		s.Updates = append(s.Updates, u)
		if r.err != nil {
			return nil, r.err
		}
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%d bytes are too many", len(r.rest))
	}
	return s, r.err
}

// reader reads what encode wrote; after an error all is empty.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.err, r.rest = errors.New("it ends too early"), nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.err, r.rest = errors.New("it ends too early"), nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// write puts bytes in the file's place, whole or not at all.
func write(dir string, data []byte) error {
	f, err := os.CreateTemp(dir, name+".*.tmp") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain, once it has its name
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
