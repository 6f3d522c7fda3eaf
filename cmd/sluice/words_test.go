package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// evil clears the screen, sets a title, turns the direction of writing, and writes a line of its own.
const evil = "x\x1b[2J\x1b]0;t\a\x7f\u009b31m\u202e\r\nforged"

// full is a message whose strings are all evil.
func full(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Message() != nil && depth == 0:
		case f.IsList() && f.Message() != nil:
			full(m.Mutable(f).List().AppendMutable().Message(), depth-1)
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			m.Mutable(f).List().Append(protoreflect.ValueOfString(evil))
		case f.Message() != nil:
			full(m.Mutable(f).Message(), depth-1)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(evil))
		case f.Kind() == protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len()-1).Number()))
		}
	}
}

// evilServer is a control plane whose every word is a stranger's.
func evilServer(t *testing.T) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]proto.Message{
		"Status": &adminv1.StatusResponse{}, "List": &adminv1.ListResponse{}, "Describe": &adminv1.DescribeResponse{}, "History": &adminv1.HistoryResponse{},
		"Plan": &adminv1.PlanResponse{}, "Undo": &adminv1.UndoResponse{}, "ListTokens": &adminv1.ListTokensResponse{}, "ListRevoked": &adminv1.ListRevokedResponse{}, "GetAuthority": &adminv1.GetAuthorityResponse{}, "WatchStatus": &adminv1.WatchStatusResponse{},
	}
	for _, m := range answers {
		full(m.ProtoReflect(), 6)
	}
	rpc := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		method = method[strings.LastIndexByte(method, '/')+1:]
		if answers[method] == nil {
			return status.Error(codes.DeadlineExceeded, evil)
		}
		return stream.SendMsg(answers[method])
	}))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = rpc.Serve(listener) }()
	t.Cleanup(func() { rpc.Stop(); <-ended })
	return listener.Addr().String()
}

// TestStrangersWords: nothing that a proxy says moves the cursor of who reads it, nor writes a line in another's name.
func TestStrangersWords(t *testing.T) {
	address := evilServer(t)
	conf := filepath.Join(t.TempDir(), "d.yaml")
	if err := os.WriteFile(conf, []byte("{kind: Gateway, name: a, listeners: [{name: b, port: 1, protocol: HTTP}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		var out bytes.Buffer
		execute(context.Background(), append(args, "--server", address), strings.NewReader(""), &out, &out)
		return out.String()
	}
	for _, line := range []string{
		"status", "status -o wide", "status x", "status --watch", "get", "describe Route/x", "history", "history 1", "undo", "token list", "revoke --list", "ca show", "wait --timeout 5s",
		"plan --full -f " + conf,
	} {
		out := run(strings.Fields(line)...)
		if !strings.Contains(out, "x\\x1b[2J") {
			t.Errorf("%s: the stranger's words are not there:\n%q", line, out)
		}
		if i := strings.IndexFunc(out, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }); i >= 0 {
			t.Errorf("%s: got %q", line, out[i:min(len(out), i+40)])
		}
		if strings.Contains(out, "\nforged") {
			t.Errorf("%s: a stranger writes a line of his own:\n%s", line, out)
		}
	}

	// In JSON the words are what they were, written otherwise.
	out := run("status", "-o", "json")
	if i := strings.IndexFunc(out, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }); i >= 0 {
		t.Errorf("JSON: got %q", out[i:min(len(out), i+40)])
	}
	var got struct{ Proxies []struct{ Agent string } }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Proxies[0].Agent != evil {
		t.Errorf("JSON: got %+v, %v, want %q", got, err, evil)
	}
	if out := string(escapeJSON([]byte(`"é😀` + "\u0085\ufeff\U000e0001" + `"`))); out != `"é😀\u0085\ufeff`+"\U000e0001"+`"` {
		t.Errorf("got %s", out)
	}
}
