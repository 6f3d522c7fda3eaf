package server

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A refused proxy is told of once, not at each of its attempts.
func TestRefusalIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		n := Node{ID: "edge-9", Cluster: "edge"}
		for range 5 {
			s.tellRefused(n, errors.New("another certificate"))
		}
		if got := strings.Count(log.String(), "a client was refused"); got != 1 || !strings.Contains(log.String(), "proxy=edge-9") {
			t.Errorf("got %d lines, want one that names the proxy:\n%s", got, &log)
		}
		time.Sleep(refusedAgain)
		s.tellRefused(n, errors.New("another certificate"))
		for i := range maxRefused + 10 {
			s.tellRefused(Node{ID: strings.Repeat("x", i)}, errors.New("no"))
		}
		if got := strings.Count(log.String(), "proxy=edge-9"); got != 2 || len(s.refused) > maxRefused {
			t.Errorf("got %d lines and %d remembered, want 2 and at most %d", got, len(s.refused), maxRefused)
		}
	})
}
