package harness

import (
	"encoding/binary"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// wellness is what upstreams answer to health checks, which they neither record nor count: 200 and SERVING, until a request's
// x-echo-health says otherwise. A stage's upstreams share it.
type wellness struct {
	mu sync.Mutex
	// Guarded by mu, by the upstream's name. states are a status, a number of gRPC's ServingStatus, "break" or "hang"; asked is
	// how the last check went.
	states, asked map[string]string
}

func newWellness() *wellness {
	return &wellness{states: map[string]string{}, asked: map[string]string{}}
}

func (w *wellness) set(name, state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states[name] = state
}

// checked is how an upstream was asked last.
func (w *wellness) checked(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[name]
}

// note adds to how an upstream was asked last.
func (w *wellness) note(name, more string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[name] += more
}

// service is that of a HealthCheckRequest.
func service(body []byte) string {
	if len(body) < 5 {
		return "?"
	}
	_, _, n := protowire.ConsumeTag(body[5:])
	if n < 0 {
		return "all"
	}
	name, _ := protowire.ConsumeString(body[5+n:])
	return name
}

const grpcCheck = "/grpc.health.v1.Health/Check"

// check is the state to answer with, if a request is a health check.
func (u *Upstream) check(s *Seen) (state string, ok bool) {
	if s.Get("user-agent") != "Envoy/HC" && s.Path != grpcCheck {
		return "", false
	}
	u.well.mu.Lock()
	defer u.well.mu.Unlock()
	u.well.asked[u.Name] = strings.TrimSpace(s.Method + " " + s.Path + " " + s.Authority + " " + s.Proxy)
	return u.well.states[u.Name], true
}

// answerCheck says how well an HTTP/1.1 upstream is; false is nothing.
func (u *Upstream) answerCheck(w io.Writer, state, method string) bool {
	switch state {
	case "":
		state = "200"
	case "hang":
		<-u.quit
		return false
	case "break":
		return false
	}
	status, _ := strconv.Atoi(state)
	body := "checked"
	text := "HTTP/1.1 " + state + " " + http.StatusText(status) + "\r\n"
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified: // they have no body (RFC 9110, 6.4.1)
		text += "\r\n"
	case method == http.MethodHead:
		text += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	default:
		text += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	_, err := io.WriteString(w, text)
	return err == nil
}

// serveCheck is answerCheck for HTTP/2.
func (u *Upstream) serveCheck(w http.ResponseWriter, r *http.Request, state string) {
	switch state {
	case "hang":
		select {
		case <-u.quit:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case "break":
		panic(http.ErrAbortHandler)
	}
	n, err := strconv.Atoi(state)
	if r.URL.Path != grpcCheck {
		if err == nil {
			w.WriteHeader(n)
		}
		return
	}
	if asked, err := io.ReadAll(r.Body); err == nil {
		u.well.note(u.Name, " for "+service(asked))
	}
	w.Header().Set("Content-Type", "application/grpc")
	switch {
	case state == "":
		n = 1 // SERVING
	case n >= 100:
		w.WriteHeader(n)
		return
	case n < 0:
		// A status of gRPC's in place of a message.
		w.Header().Set("Grpc-Status", strconv.Itoa(-n))
		return
	}
	m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(n))
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...))
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}
