package config

import (
	"strconv"
	"strings"
)

// AccessLog is one sink.
type AccessLog struct {
	// Path is a file; "/dev/stdout" and "/dev/stderr" are the process's own.
	Path string
	// JSON maps a key to what is written; nil is a line of text, Format.
	JSON map[string]Format
	// Format is a line with its own line end.
	Format Format
}

// Format is a text with Envoy's command operators, in its order.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
type Format []Part

// Part is a piece of a text: literal, or one of Envoy's command operators.
type Part struct {
	Literal string
	// Name is the operator's; empty is a literal.
	Name string
	// Arg is of REQ and RESP a header's name in lower case, and Alt another for when that is not there; of START_TIME a layout
	// for time.Format.
	Arg, Alt string
	// Max cuts what it yields, in bytes; 0 is no limit.
	Max int
}

// String is the text, nearly as it was read: for people.
func (f Format) String() string {
	var b strings.Builder
	for _, p := range f {
		if p.Name == "" {
			b.WriteString(strings.ReplaceAll(p.Literal, "%", "%%"))
			continue
		}
		b.WriteString("%" + p.Name)
		if p.Arg != "" {
			b.WriteString("(" + p.Arg)
			if p.Alt != "" {
				b.WriteString("?" + p.Alt)
			}
			b.WriteString(")")
		}
		if p.Max > 0 {
			b.WriteString(":" + strconv.Itoa(p.Max))
		}
		b.WriteString("%")
	}
	return b.String()
}
