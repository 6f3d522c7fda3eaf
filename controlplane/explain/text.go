package explain

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Write writes a result for people.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	if r.Rule == "" && len(r.Services) > 0 { // TCP: there is no method
		fmt.Fprintf(&b, "%s\n", r.URL)
	} else {
		fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	}
	row := func(name, value, at string) {
		if at != "" {
			at = "  (" + at + ")"
		}
		fmt.Fprintf(&b, "  %-11s %s%s\n", name, value, at)
	}
	row("fleet", r.Fleet, "")
	listener := r.Listener.Socket
	if r.Listener.Chain != "" {
		listener += ", " + r.Listener.Chain
	}
	row("listener", listener, r.Listener.At)
	if r.Listener.Certificate != "" {
		row("certificate", r.Listener.Certificate, "")
	}
	if r.Path != "" {
		row("path", r.Path+", after normalization", "")
	}
	if r.Host != "" {
		row("host", r.Host, "")
	}
	if r.Rule != "" {
		row("rule", r.Rule, r.RuleAt)
	}
	for i, s := range r.Services {
		name := "goes to"
		if i > 0 {
			name = ""
		}
		endpoints := strings.Join(s.Endpoints, " ")
		if endpoints == "" {
			endpoints = "no endpoint: answers 503"
		}
		if len(s.Draining) > 0 {
			endpoints += "; drained: " + strings.Join(s.Draining, " ")
		}
		row(name, fmt.Sprintf("%4s%% Service/%s: %s", percent(s.Percent), s.Name, endpoints), s.At)
	}
	if r.Redirect != nil {
		row("answer", fmt.Sprintf("%d, Location: %s", r.Redirect.Status, r.Redirect.Location), "")
	}
	if r.Answer != nil {
		row("answer", strings.TrimPrefix(fmt.Sprintf("%d, %s", r.Answer.Status, r.Answer.Reason), "0, "), "")
	}
	if len(r.Services) > 0 && r.Rule != "" {
		timeout := r.Timeout
		if timeout == "" {
			timeout = "none"
		}
		row("timeout", timeout, "")
		if r.Retries != "" {
			row("retries", r.Retries, "")
		}
		if r.Rewritten != "" {
			row("rewritten", r.Rewritten, "as the services see it")
		}
		for _, c := range r.Copies {
			row("copies", percentFine(c.Percent)+"% to Service/"+c.Service, "")
		}
	}
	if len(r.Skipped) > 0 {
		b.WriteString("Asked before, and did not match:\n")
	}
	for _, s := range r.Skipped {
		at := ""
		if s.At != "" {
			at = " (" + s.At + ")"
		}
		fmt.Fprintf(&b, "  %s%s: %s\n", s.Rule, at, s.Reason)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// percent is rounded to a tenth, and without it where it is 0.
func percent(p float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(p, 'f', 1, 64), ".0")
}

// percentFine has all decimals that a fraction may have: four.
func percentFine(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) }
