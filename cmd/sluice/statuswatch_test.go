package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// TestChanges: a line for each thing that is not as it was, and none for the rest.
func TestChanges(t *testing.T) {
	var out bytes.Buffer
	c := &changes{out: &out, proxies: map[string]*adminv1.Proxy{}}
	proxy := func(connected bool, state adminv1.TypeStatus_State, accepted, words string) *adminv1.Proxy {
		return &adminv1.Proxy{Fleet: "edge", Id: "a", Agent: "envoy 1.40.0", Peer: "10.0.0.1:1", Connected: connected, Types: []*adminv1.TypeStatus{{
			Type: "LDS", State: state, Accepted: accepted, Error: words, About: []*adminv1.ResourceRef{{
				Type: "LDS", Name: "0.0.0.0:80", Origins: []*adminv1.Origin{{Document: "Gateway/web/http", File: "web.yaml", Line: 3}},
			}},
		}}}
	}
	write := func(what string, news *adminv1.WatchStatusResponse, quiet bool, want ...string) {
		t.Helper()
		out.Reset()
		if err := c.write(news, quiet, time.Date(2026, 1, 1, 9, 30, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		text := ""
		if len(want) > 0 {
			text = "09:30:00 " + strings.Join(want, "\n09:30:00 ") + "\n"
		}
		if got := out.String(); got != text {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, text)
		}
	}
	of := func(p ...*adminv1.Proxy) *adminv1.WatchStatusResponse {
		return &adminv1.WatchStatusResponse{Status: &adminv1.StatusResponse{Proxies: p}}
	}
	write("the table has it", of(), true)
	write("new", of(proxy(true, adminv1.TypeStatus_STALE, "", "")), false, "edge/a (envoy 1.40.0) connected from 10.0.0.1:1", "edge/a LDS STALE")
	write("accepted", of(proxy(true, adminv1.TypeStatus_SYNCED, "1", "")), false, "edge/a LDS SYNCED 1")
	write("another version", of(proxy(true, adminv1.TypeStatus_SYNCED, "2", "")), false, "edge/a LDS SYNCED 2")
	write("the same", of(proxy(true, adminv1.TypeStatus_SYNCED, "2", "")), false)
	write("refused", of(proxy(true, adminv1.TypeStatus_ERROR, "2", "no")), false, "edge/a LDS ERROR 2: no\n  LDS 0.0.0.0:80: web.yaml:3: Gateway/web/http")
	write("went", of(proxy(false, adminv1.TypeStatus_ERROR, "2", "no")), false, "edge/a went")
	write("back", of(proxy(true, adminv1.TypeStatus_SYNCED, "2", "")), false, "edge/a (envoy 1.40.0) connected from 10.0.0.1:1", "edge/a LDS SYNCED 2")
	write("forgotten", &adminv1.WatchStatusResponse{Status: &adminv1.StatusResponse{}, Forgotten: []string{"edge/a"}}, false, "edge/a is forgotten")
	problem := &adminv1.WatchStatusResponse{Status: &adminv1.StatusResponse{Problems: []*adminv1.Problem{{File: "x.yaml", Line: 1, Column: 2, Severity: "error", Code: "SL1", Message: "m"}}}}
	write("a problem", problem, false, "x.yaml:1:2: error SL1: m")
	write("it stays", problem, false)
	write("it goes", of(), false, "well again: x.yaml:1:2: error SL1: m")
}
