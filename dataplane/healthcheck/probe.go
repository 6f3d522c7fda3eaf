package healthcheck

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// userAgent is what Envoy's checks say, and what servers look for that keep them out of their logs.
const userAgent = "Envoy/HC"

// Bounds on what an endpoint may answer: it may be a stranger.
const (
	maxHead    = 64 << 10
	maxMessage = 1 << 10
)

// probe is one way to ask.
type probe interface {
	// ask asks once; why says what is wrong, for the log.
	ask(ctx context.Context) (v verdict, why string)
	// close ends connections that are kept.
	close()
}

func newProbe(c *config.HealthCheck, dial func(context.Context) (net.Conn, error)) probe {
	if c.Kind == config.CheckTCP {
		return tcpProbe(dial)
	}
	t := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives:      !c.Reuse,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: maxHead,
		Protocols:              new(http.Protocols),
	}
	if c.HTTP2 || c.Kind == config.CheckGRPC {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP1(true)
	}
	if c.Kind == config.CheckGRPC {
		return &grpcProbe{config: c, transport: t}
	}
	return &httpProbe{config: c, transport: t}
}

// tcpProbe connects, and that is all.
type tcpProbe func(context.Context) (net.Conn, error)

func (p tcpProbe) ask(ctx context.Context) (verdict, string) {
	conn, err := p(ctx)
	if err != nil {
		return failing, err.Error()
	}
	_ = conn.Close() // nothing was said
	return well, ""
}

func (tcpProbe) close() {}

// httpProbe sends a request.
type httpProbe struct {
	config    *config.HealthCheck
	transport *http.Transport
}

func (p *httpProbe) close() { p.transport.CloseIdleConnections() }

func (p *httpProbe) ask(ctx context.Context) (verdict, string) {
	c := p.config
	res, err := p.transport.RoundTrip(request(ctx, c.Method, c.Path, c.Host))
	if err != nil {
		return failing, unanswered(ctx, err)
	}
	defer res.Body.Close()
	// As with Envoy, an answer is one when it is whole.
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return failing, unanswered(ctx, err)
	}
	within := func(r config.StatusRange) bool { return r.Start <= res.StatusCode && res.StatusCode < r.End }
	switch {
	case slices.ContainsFunc(c.Expected, within):
		return well, ""
	case slices.ContainsFunc(c.Retriable, within):
		return failing, "status " + strconv.Itoa(res.StatusCode)
	}
	return ill, "status " + strconv.Itoa(res.StatusCode)
}

// request makes one of a path as it stands.
func request(ctx context.Context, method, path, host string) *http.Request {
	path, query, _ := strings.Cut(path, "?")
	r := &http.Request{
		Method: method, Host: host, Header: http.Header{"User-Agent": {userAgent}},
		URL: &url.URL{Scheme: "http", Host: "endpoint", Opaque: path, RawQuery: query},
	}
	return r.WithContext(ctx)
}

func unanswered(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// grpcProbe calls grpc.health.v1.Health/Check: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
type grpcProbe struct {
	config    *config.HealthCheck
	transport *http.Transport
}

func (p *grpcProbe) close() { p.transport.CloseIdleConnections() }

// serving is HealthCheckResponse.SERVING.
const serving = 1

func (p *grpcProbe) ask(ctx context.Context) (verdict, string) {
	r := request(ctx, "POST", "/grpc.health.v1.Health/Check", p.config.Host)
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	var m []byte
	if p.config.Service != "" {
		m = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), p.config.Service)
	}
	// A message is a byte that says that it is not compressed, its length and itself.
	m = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(m)), int64(len(m))
	res, err := p.transport.RoundTrip(r)
	if err != nil {
		return failing, unanswered(ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxMessage+1))
	if err != nil {
		return failing, unanswered(ctx, err)
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status")
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return ill, "status " + strconv.Itoa(res.StatusCode)
	case len(body) > maxMessage:
		return ill, "answer is too large"
	case status != "0":
		return ill, fmt.Sprintf("grpc-status %q", clip(status))
	}
	if n, ok := servingStatus(body); !ok || n != serving {
		return ill, "not SERVING"
	}
	return well, ""
}

// servingStatus reads a HealthCheckResponse: field 1 is its status.
func servingStatus(body []byte) (status uint64, ok bool) {
	if len(body) < 5 || body[0] != 0 || binary.BigEndian.Uint32(body[1:]) != uint32(len(body)-5) {
		return 0, false
	}
	for m := body[5:]; len(m) > 0; {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return 0, false
		}
		m = m[n:]
		if number == 1 && kind == protowire.VarintType {
			if status, n = protowire.ConsumeVarint(m); n < 0 {
				return 0, false
			}
		} else if n = protowire.ConsumeFieldValue(number, kind, m); n < 0 {
			return 0, false
		}
		m = m[n:]
	}
	return status, true
}

func clip(s string) string { return s[:min(len(s), 16)] }
