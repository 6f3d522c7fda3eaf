package command_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/command"
)

func TestMainCode(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file("good.yaml", "node: {id: a, cluster: b}"), file("bad.yaml", "tracing: {}")
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"serves":           {[]string{"-c", good}, 0, ""}, // its context has ended already
		"validates":        {[]string{"-c", good, "--mode", "validate"}, 0, "good.yaml' OK"},
		"equals sign":      {[]string{"--config-path=" + good, "--mode=validate"}, 0, "OK"},
		"yaml alone":       {[]string{"--config-yaml", "{}", "--mode", "validate"}, 0, "OK"},
		"yaml on top":      {[]string{"-c", good, "--config-yaml", "hds_config: {}", "--mode", "validate"}, 1, "hds_config: not supported"},
		"refused":          {[]string{"-c", bad, "--mode", "validate"}, 1, "bootstrap: tracing: not supported by sluice-proxy"},
		"refused to serve": {[]string{"-c", bad}, 1, "bootstrap: tracing"},
		"no such file":     {[]string{"-c", filepath.Join(dir, "none")}, 1, "no such file"},
		"version":          {[]string{"--version"}, 0, "sluice-proxy "},
		"help":             {[]string{"--help"}, 0, "--drain-time-s"},
		"nothing":          {nil, 2, "want -c FILE"},
		"an argument":      {[]string{"-c", good, "x"}, 2, `got argument "x"`},
		"unknown":          {[]string{"--nope"}, 2, "unknown flag: --nope"},
		"level":            {[]string{"-c", good, "-l", "loud"}, 2, `--log-level: got "loud"`},
		"mode":             {[]string{"-c", good, "--mode", "init_only"}, 2, `--mode: got "init_only"`},
		"drain time":       {[]string{"-c", good, "--drain-time-s", "-1"}, 2, "drain-time-s"},
		"limits":           {[]string{"-c", good, "--max-connections-per-client", "100", "--min-body-rate", "500", "--mode", "validate"}, 0, "OK"},
		"per client":       {[]string{"-c", good, "--max-connections-per-client", "-1"}, 2, "max-connections-per-client"},
		"body rate":        {[]string{"-c", good, "--min-body-rate", "1k"}, 2, "min-body-rate"},
		"hot restart":      {[]string{"-c", good, "--restart-epoch", "1"}, 2, "--restart-epoch: not supported by sluice-proxy: processes are replaced by --handover instead"},
		"base id":          {[]string{"-c", good, "--base-id", "1"}, 2, "--base-id: not supported"},
		"a switch":         {[]string{"-c", good, "--allow-unknown-static-fields"}, 2, "nothing is ignored"},
		"harmless":         {[]string{"-c", good, "--disable-hot-restart", "--mode", "validate"}, 0, "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out bytes.Buffer
			if code := command.Main(ctx, "sluice-proxy", tt.args, &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("got %d %s\nwant %d %s", code, &out, tt.code, tt.want)
			}
		})
	}
}
