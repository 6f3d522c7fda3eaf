package translate

import (
	"google.golang.org/protobuf/types/known/structpb"

	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamlogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// httpLog is one request. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
var httpLog = map[string]string{
	"start_time":     "%START_TIME%",
	"duration_ms":    "%DURATION%",
	"method":         "%REQ(:METHOD)%",
	"authority":      "%REQ(:AUTHORITY)%",
	"path":           "%REQ(:PATH)%",
	"protocol":       "%PROTOCOL%",
	"status":         "%RESPONSE_CODE%",
	"flags":          "%RESPONSE_FLAGS%",
	"details":        "%RESPONSE_CODE_DETAILS%",
	"attempts":       "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
	"bytes_received": "%BYTES_RECEIVED%",
	"bytes_sent":     "%BYTES_SENT%",
	"route":          "%ROUTE_NAME%",
	"cluster":        "%UPSTREAM_CLUSTER%",
	"upstream":       "%UPSTREAM_HOST%",
	"client":         "%DOWNSTREAM_REMOTE_ADDRESS%",
	"local":          "%DOWNSTREAM_LOCAL_ADDRESS%",
	"forwarded_for":  "%REQ(X-FORWARDED-FOR)%",
	"request_id":     "%REQ(X-REQUEST-ID)%",
	"user_agent":     "%REQ(USER-AGENT)%",
	"sni":            "%REQUESTED_SERVER_NAME%",
	"tls_version":    "%DOWNSTREAM_TLS_VERSION%",
}

// tcpLog is one connection.
var tcpLog = map[string]string{
	"start_time":     "%START_TIME%",
	"duration_ms":    "%DURATION%",
	"flags":          "%RESPONSE_FLAGS%",
	"bytes_received": "%BYTES_RECEIVED%",
	"bytes_sent":     "%BYTES_SENT%",
	"cluster":        "%UPSTREAM_CLUSTER%",
	"upstream":       "%UPSTREAM_HOST%",
	"client":         "%DOWNSTREAM_REMOTE_ADDRESS%",
	"local":          "%DOWNSTREAM_LOCAL_ADDRESS%",
}

// accessLogs writes JSON lines on the proxy's standard output, unless the listener wants none. It is Envoy's stdout
// logger and not its file logger on /dev/stdout, which cannot be opened where standard output is a socket, as under
// systemd.
func accessLogs(c *ir.FilterChain, format map[string]string) []*accesslogpb.AccessLog {
	if c.Unlogged {
		return nil
	}
	fields := map[string]*structpb.Value{"listener": structpb.NewStringValue(c.Name)}
	for key, operators := range format {
		fields[key] = structpb.NewStringValue(operators)
	}
	return []*accesslogpb.AccessLog{{
		Name: stdoutName,
		ConfigType: &accesslogpb.AccessLog_TypedConfig{TypedConfig: pack(&streamlogpb.StdoutAccessLog{
			AccessLogFormat: &streamlogpb.StdoutAccessLog_LogFormat{LogFormat: &corepb.SubstitutionFormatString{
				Format: &corepb.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}}
}
