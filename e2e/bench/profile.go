package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// profileRows are the mix that the proxy is built for, and profileTime how long each is looked at. Large bodies are not
// among them: they are the kernel's work.
var profileRows = []string{"h1-64", "h1-512", "h1-64-log", "tls-64", "tls-new", "h2-h1", "h2-h2", "grpc", "down-16k", "up-16k"}

const profileTime = 5 * time.Second

// maxProfile is how large a profile may be that is committed, in bytes.
const maxProfile = 300 << 10

// Profile writes a CPU profile of our proxy under the mix to a file, in place of what is there.
func (e *Env) Profile(t *testing.T, path string) error {
	dir := t.TempDir()
	var parts []string
	for _, name := range profileRows {
		i := slices.IndexFunc(e.rows, func(r Row) bool { return r.Name == name })
		if i < 0 {
			return fmt.Errorf("bench: profile: no row is called %s", name)
		}
		row := &e.rows[i]
		p := e.proxy(t, Ours, row.Site)
		if err := row.check(p); err != nil {
			return err
		}
		part := filepath.Join(dir, name)
		if err := row.profile(p, part); err != nil {
			return fmt.Errorf("bench: profile: %s: %w", name, err)
		}
		parts = append(parts, part)
		t.Logf("%s: profiled for %v", name, profileTime)
	}
	merged := filepath.Join(dir, "merged")
	args := append([]string{"tool", "pprof", "-proto", "-output", merged}, parts...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("bench: profile: merge: %w\n%s", err, out)
	}
	data, err := os.ReadFile(merged)
	if err != nil {
		return err
	}
	if len(data) > maxProfile {
		return fmt.Errorf("bench: profile: got %d bytes, want at most %d", len(data), maxProfile)
	}
	return os.WriteFile(path, data, 0o644)
}

// profile writes the profile of one row.
func (r *Row) profile(p *Proxy, path string) error {
	l, err := r.Load(p)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, _, err := l.Run(warmTime); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got := make(chan error, 1)
	go func() { got <- fetchProfile(ctx, p.Admin, path) }()
	_, _, err = l.Run(profileTime + 200*time.Millisecond)
	if err != nil {
		cancel()
	}
	return errors.Join(err, <-got)
}

func fetchProfile(ctx context.Context, admin, path string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, int(profileTime.Seconds()))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", url, response.StatusCode, data)
	}
	return os.WriteFile(path, data, 0o600)
}
