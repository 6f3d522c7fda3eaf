package admin

import (
	"net/http"
	"net/http/pprof"
)

// profiles are Go's own, in the format of `go tool pprof`: for people who ask where time and memory go, and for
// profile-guided builds (make pgo). Envoy has /cpuprofiler for it, which writes a file; this answers with the profile.
// A profile of CPU lasts ?seconds= (30 if left out; one at a time) and costs about a percent meanwhile.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, goroutine, …
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
}
