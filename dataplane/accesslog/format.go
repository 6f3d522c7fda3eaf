package accesslog

import (
	"strconv"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/format"
)

// Record is one exchange.
type Record = format.Record

// appendText writes a format's text. What yields nothing is "-", as Envoy has it.
func appendText(b []byte, parts []config.Part, r *Record) []byte {
	for i := range parts {
		p := &parts[i]
		if p.Name == "" {
			b = append(b, p.Literal...)
			continue
		}
		switch v := format.Of(p, r); {
		case v.Numeric:
			b = strconv.AppendInt(b, v.Number, 10)
		case v.Missing:
			b = append(b, '-')
		default:
			b = appendClean(b, v.Text)
		}
	}
	return b
}

// appendClean keeps a stranger's bytes from ending a log line or from steering a terminal.
func appendClean(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
