package harness

import (
	"path/filepath"
	"testing"
)

// TestScenariosParse reads every scenario, so that a slip in one is told without starting anything.
func TestScenariosParse(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		s, err := ReadScenario(file)
		if err != nil {
			t.Error(err)
			continue
		}
		NewStage(t, s.Files)
		for _, e := range s.Exchanges {
			if e.Label == "" {
				t.Errorf("%s:%d: a request without a comment that says what it shows", file, e.Line)
			}
		}
	}
}

// TestUpstreamAndClient drives the recording upstream with the client, without a proxy between.
func TestUpstreamAndClient(t *testing.T) {
	u, h2 := NewUpstream(t, "v1"), NewH2CUpstream(t, "h2")
	for _, test := range []struct {
		name string
		up   *Upstream
		r    Request
		want int
	}{
		{"plain", u, Request{Method: "GET", Proto: "HTTP/1.1"}, 200},
		{"body", u, Request{Method: "POST", Proto: "HTTP/1.1", Body: Pattern(100000)}, 200},
		{"chunked", u, Request{Method: "POST", Proto: "HTTP/1.1", Body: Pattern(100000), Chunked: true}, 200},
		{"continue", u, Request{Method: "POST", Proto: "HTTP/1.1", Body: Pattern(10), Header: []Field{{"Expect", "100-continue"}}}, 200},
		{"status", u, Request{Method: "GET", Proto: "HTTP/1.1", Header: []Field{{"x-echo-status", "404"}}}, 404},
		{"h2", h2, Request{Method: "POST", Proto: "HTTP/2", Body: Pattern(100000)}, 200},
		{"h2 status", h2, Request{Method: "GET", Proto: "HTTP/2", Header: []Field{{"x-echo-status", "404"}}}, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.r
			r.Addr, r.Authority, r.Path = test.up.Addr, "shop.example.com", "/x?y"
			a := Do(&r, false)
			if a.Status != test.want || a.Refused != "" || a.Broken != "" {
				t.Fatalf("got %+v", a)
			}
			seen := test.up.Take()
			if len(seen) != 1 || seen[0].Broken != "" || seen[0].Path != "/x?y" || len(seen[0].Body) != len(r.Body) {
				t.Fatalf("seen: %+v", seen)
			}
		})
	}
	a := Do(&Request{Method: "GET", Proto: "HTTP/2", Addr: h2.Addr, Path: "/", Authority: "a", Header: []Field{
		{"x-echo-trailer", "grpc-status: 0"}, {"x-echo-interim", "103"},
	}}, false)
	if joined(a.Trailer, "grpc-status") != "0" || len(a.Interim) != 1 {
		t.Fatalf("got %+v", a)
	}
}
