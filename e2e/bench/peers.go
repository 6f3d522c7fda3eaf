package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// peer is a kind of proxy. How each is configured stands in a file of its own.
type peer struct {
	// launch starts it, and sets process.
	launch func(e *Env, t *testing.T, p *Proxy)
	// find is where its program is, or how to get it.
	find func(t *testing.T) (path, get string)
	// version is the arguments that make it tell its version; nil is ours.
	version []string
}

var peers = map[string]peer{
	Ours:           {launch: launchSluice, find: built},
	"nginx":        {launch: launchNginx, find: inPath("nginx"), version: []string{"-v"}},
	"haproxy":      {launch: launchHAProxy, find: inPath("haproxy"), version: []string{"-v"}},
	"envoy":        {launch: launchEnvoy, find: envoy, version: []string{"--version"}},
	"caddy":        {launch: launchCaddy, find: caddy, version: []string{"version"}},
	"reverseproxy": {launch: launchReverseProxy, find: built},
}

// PeerNames are all, in the order of the table.
var PeerNames = []string{Ours, "nginx", "haproxy", "envoy", "caddy", "reverseproxy"}

// Find tells which of some peers are there, with their versions, and how to get those that are not.
func Find(t *testing.T, names []string) (there []string, versions map[string]string, missing []string) {
	versions = map[string]string{}
	for _, name := range names {
		p, ok := peers[name]
		if !ok {
			t.Fatalf("bench: no peer is called %q, want some of %v", name, PeerNames)
		}
		path, get := p.find(t)
		if path == "" {
			missing = append(missing, fmt.Sprintf("%s is missing: %s", name, get))
			continue
		}
		there = append(there, name)
		versions[name] = "this tree"
		if p.version != nil {
			out, err := exec.Command(path, p.version...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			versions[name] = firstVersion(string(out))
		}
	}
	return there, versions, missing
}

func built(*testing.T) (path, get string) { return os.Args[0], "" }

func inPath(name string) func(*testing.T) (string, string) {
	return func(*testing.T) (string, string) {
		path, err := exec.LookPath(name)
		if err != nil {
			// Debian keeps servers where the path of users does not lead.
			if path = "/usr/sbin/" + name; !exists(path) {
				return "", "apt-get install " + name
			}
		}
		return path, ""
	}
}

func envoy(t *testing.T) (path, get string) {
	path = os.Getenv("SLUICE_ENVOY")
	if path == "" {
		path = filepath.Join(harness.Root(t), ".cache", "envoy", "envoy", "_bin", "envoy")
	}
	if !exists(path) {
		return "", "make envoy"
	}
	return path, ""
}

func caddy(t *testing.T) (path, get string) {
	path = os.Getenv("SLUICE_CADDY")
	if path == "" {
		path = filepath.Join(harness.Root(t), ".cache", "caddy", "caddy")
	}
	if !exists(path) {
		return "", "make caddy"
	}
	return path, ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// logged is a command whose standard output, its access log, goes to a file.
func logged(dir, binary string, args ...string) (string, []string) {
	return "sh", append([]string{"-c", `exec "$@" >"$0"`, filepath.Join(dir, "access.log"), binary}, args...)
}

// firstVersion is the first number with dots in what a program says.
func firstVersion(text string) string {
	return versionPattern.FindString(text)
}

var versionPattern = regexp.MustCompile(`\d+\.\d+\.\d+`)
