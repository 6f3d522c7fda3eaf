package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	accesslogpb "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogpb "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/format"
	"github.com/sluice-proxy/sluice/xds/operator"
)

// defaultLogFormat is Envoy's, for a sink without a format.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string
const defaultLogFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
	`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// accessLogs reads the sinks of a connection manager or of a TCP proxy.
func (d *decoder) accessLogs(at string, sinks []*accesslogpb.AccessLog) []*config.AccessLog {
	var out []*config.AccessLog
	for i, m := range sinks {
		here := fmt.Sprintf("%s[%d]", at, i)
		if log := d.accessLog(here, m); log != nil {
			out = append(out, log)
		}
	}
	return out
}

func (d *decoder) accessLog(at string, m *accesslogpb.AccessLog) *config.AccessLog {
	log, inner := &config.AccessLog{}, at+".typed_config"
	if file, ok := open[*filelogpb.FileAccessLog](d, m.GetTypedConfig()); ok {
		log.Path = file.GetPath()
		switch f := file.GetAccessLogFormat().(type) {
		case *filelogpb.FileAccessLog_Format:
			log.Format = d.format(inner+".format", f.Format)
		case *filelogpb.FileAccessLog_JsonFormat:
			log.JSON = d.jsonFormat(inner+".json_format", f.JsonFormat)
		case *filelogpb.FileAccessLog_LogFormat:
			d.logFormat(inner+".log_format", f.LogFormat, log)
		}
	} else if stdout, ok := open[*streamlogpb.StdoutAccessLog](d, m.GetTypedConfig()); ok {
		log.Path = "/dev/stdout"
		d.logFormat(inner+".log_format", stdout.GetLogFormat(), log)
	} else if stderr, ok := open[*streamlogpb.StderrAccessLog](d, m.GetTypedConfig()); ok {
		log.Path = "/dev/stderr"
		d.logFormat(inner+".log_format", stderr.GetLogFormat(), log)
	} else {
		d.missing(at, "got no type, want %s, %s or %s", fileLog.Name, stdoutLog.Name, stderrLog.Name)
		return nil
	}
	if log.JSON == nil && log.Format == nil {
		log.Format = d.format(inner, defaultLogFormat)
	}
	return log
}

func (d *decoder) logFormat(at string, m *corepb.SubstitutionFormatString, log *config.AccessLog) {
	switch f := m.GetFormat().(type) {
	case *corepb.SubstitutionFormatString_TextFormat:
		log.Format = d.format(at+".text_format", f.TextFormat)
	case *corepb.SubstitutionFormatString_TextFormatSource:
		log.Format = d.format(at+".text_format_source", string(inline(f.TextFormatSource)))
	case *corepb.SubstitutionFormatString_JsonFormat:
		log.JSON = d.jsonFormat(at+".json_format", f.JsonFormat)
	}
}

// jsonFormat is one level of keys with texts.
func (d *decoder) jsonFormat(at string, m *structpb.Struct) map[string]config.Format {
	out := map[string]config.Format{}
	for _, key := range slices.Sorted(maps.Keys(m.GetFields())) { // equal refusals read the same
		here := fmt.Sprintf("%s[%s]", at, quote(key))
		text, ok := m.GetFields()[key].GetKind().(*structpb.Value_StringValue)
		if !ok {
			d.refuse(here, "want a text: %s", notSupported)
			continue
		}
		out[key] = d.format(here, text.StringValue)
	}
	return out
}

// format reads a text with operators; nil is an empty one.
func (d *decoder) format(at, text string) config.Format {
	parts, err := operator.Parse(text, format.Operators)
	if err != nil {
		d.refuse(at, "%v", err)
	}
	return formatOf(parts)
}

func formatOf(parts []operator.Part) config.Format {
	var f config.Format
	for _, p := range parts {
		f = append(f, config.Part(p))
	}
	return f
}
