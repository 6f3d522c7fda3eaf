package decode

import (
	"fmt"
	"strings"
	"unicode"
)

// Bounds of one error's text: it travels in a NACK, and is read by people.
const (
	maxRefusals     = 10
	maxReasonLength = 300
	maxQuoted       = 80
	// maxRemembered is how many paths at fault are kept, so that none of them is told or counted twice.
	maxRemembered = 10_000
)

// Error is why a resource is refused: the text of its NACK.
type Error struct {
	// Kind is "listener", "route table", "virtual host", "cluster", "assignment" or "secret"; Name may be empty if it could not be read.
	Kind, Name string
	// Refusals are what is wrong, in the order of the walk; the first of them if there are many.
	Refusals []Refusal
	// More is how many Refusals were left out.
	More int
}

// Refusal is one field at fault.
type Refusal struct {
	// Field is its path in the resource, with the proto's names: "filter_chains[0].filters[0].typed_config.http_filters[0]".
	// Empty is the resource itself.
	Field string
	// Reason is "got X, want Y: not supported by sluice-proxy", or what else is wrong.
	Reason string
}

// Error tells all refusals on one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: ", e.Kind, shorten(e.Name, maxReasonLength))
	for i, r := range e.Refusals {
		if i > 0 {
			b.WriteString("; ")
		}
		if r.Field != "" {
			b.WriteString(r.Field)
			b.WriteString(": ")
		}
		b.WriteString(r.Reason)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d more", e.More)
	}
	return b.String()
}

// notSupported ends the reason of what is right for Envoy but not built here.
const notSupported = "not supported by sluice-proxy"

// quote shows a value of a stranger's: short, and on one line.
func quote(s string) string { return fmt.Sprintf("%q", shorten(s, maxQuoted)) }

// shorten cuts s to about n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// oneLine makes a reason of bounded length, without what a stranger could use to forge lines of a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, shorten(s, maxReasonLength))
}

// oneOf joins alternatives: "a, b or c".
func oneOf(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}
