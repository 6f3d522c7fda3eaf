package httpproxy

import (
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// oneLine are the headers of requests of which Envoy 1.40 keeps one line: what is added to one that is there already goes
// behind a comma. Measured, header by header; they are those of its header map's inline list and of its filters'.
// https://github.com/envoyproxy/envoy/blob/main/envoy/http/header_map.h
var oneLine = nameSet("accept accept-encoding access-control-request-headers access-control-request-method authorization cache-control " +
	"content-encoding content-type grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match if-range " +
	"if-unmodified-since origin pragma referer user-agent via x-client-trace-id x-forwarded-for x-forwarded-host " +
	"x-forwarded-port x-forwarded-proto x-request-id")

// oneLineAnswer are those of answers.
var oneLineAnswer = nameSet("access-control-allow-credentials access-control-allow-headers access-control-allow-methods " +
	"access-control-allow-origin access-control-expose-headers access-control-max-age age cache-control content-encoding " +
	"content-type etag expires grpc-message grpc-status last-modified location proxy-status server vary via x-request-id")

func nameSet(list string) map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(list) {
		m[name] = true
	}
	return m
}

// add adds a line, or to the one line that there is to be; answer tells whose header it is.
func add(h *message.Header, name, value string, answer bool) {
	set := oneLine
	if answer {
		set = oneLineAnswer
	}
	if set[strings.ToLower(name)] {
		if there, ok := h.Joined(name); ok {
			h.Set(name, there+","+value)
			return
		}
	}
	h.Add(name, value)
}
