package message

import (
	"strings"
	"testing"
)

// Each row is what Envoy 1.40 was seen to do.
func TestGRPC(t *testing.T) {
	for values, want := range map[string]bool{
		"application/grpc":         true,
		"application/grpc+proto":   true,
		"application/grpc+":        true,
		"application/grpc+proto|x": true,
		"application/grpc|x":       false,
		"x|application/grpc":       false,
		"application/grpc-web":     false,
		"application/grpc;x":       false,
		"APPLICATION/GRPC":         false,
		"application/grpcx":        false,
		"":                         false,
	} {
		req := &Request{Method: "POST", Path: "/"}
		for _, v := range strings.Split(values, "|") {
			req.Header.Add("Content-Type", v)
		}
		if got := req.GRPC(); got != want {
			t.Errorf("%s: got %v, want %v", values, got, want)
		}
	}
}
