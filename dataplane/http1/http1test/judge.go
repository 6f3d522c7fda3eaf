package http1test

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// Judge tells how what came of a case differs from what it wants. Strict is for our own proxy; else what another may do
// as well counts as right: other statuses of refusal, a connection that ends, fields added.
func (c *Case) Judge(r Result, strict bool) (problems []string) {
	problems = c.judge(r, strict)
	if strict || len(problems) == 0 || len(c.Or) == 0 {
		return problems
	}
	other := *c
	other.Want, other.HasOrigin, other.Answers = c.Or, false, nil
	if len(other.judge(r, false)) == 0 {
		return nil
	}
	return problems
}

func (c *Case) judge(r Result, strict bool) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, m := range r.Seen {
		if m.Problem != "" {
			say("the origin saw %q", m)
		}
	}
	if strict && r.Late != "" {
		say("what came late: %s", r.Late)
	}
	if r.Fresh != "" {
		say("the next request of another client: %s", r.Fresh)
	}
	if c.IsAnswer {
		c.judgeAnswer(r, strict, say)
		return problems
	}
	c.judgeStatuses(r, strict, say)
	c.judgeOrigin(r, strict, say)
	return problems
}

func (c *Case) judgeStatuses(r Result, strict bool, say func(string, ...any)) {
	want, end := []int{}, false
	for i := range c.Want {
		status := 0
		if status, end = c.status(i); status != 0 {
			want = append(want, status)
		}
	}
	var got []int
	for _, m := range r.Answers {
		got = append(got, m.Status())
	}
	if strict {
		if c.cut() && len(got) == len(want)+1 && (got[len(want)] == 400 || got[len(want)] == 408) {
			got = got[:len(want)] // to one who has hung up
		}
		if !slices.Equal(got, want) {
			say("the client saw %v, want %v", got, want)
		}
		if r.Extra != "" {
			say("then came %q", r.Extra)
		}
		if r.Closed != end {
			say("the connection ended: %v, want %v", r.Closed, end)
		}
		if r.Next != "" {
			say("the next request: %s", r.Next)
		}
		return
	}
	for i, status := range want {
		switch {
		case status >= 400 && i < len(got) && got[i] < 400, status < 400 && (i >= len(got) || got[i] != status):
			say("the client saw %v, want %v", got, want)
			return
		}
	}
	if r.Next != "" && !strings.HasPrefix(r.Next, "EOF") && !strings.Contains(r.Next, "reset") && !strings.Contains(r.Next, "broken pipe") {
		say("the next request: %s", r.Next)
	}
}

func (c *Case) judgeOrigin(r Result, strict bool, say func(string, ...any)) {
	want := c.Origin
	if !c.HasOrigin {
		for i, w := range c.Want {
			if status, _ := c.status(i); status == 200 {
				w.End = ""
				want = append(want, w)
			}
		}
	}
	var got []Message
	for _, m := range r.Seen {
		// What the origin saw of a body that was broken off does no harm.
		if m.Whole() {
			got = append(got, m)
		}
	}
	if len(got) > len(want) {
		say("the origin saw %d requests, want %d: %q", len(got), len(want), got)
		return
	}
	for i, w := range want {
		if i >= len(got) {
			say("the origin did not see %q", w)
			return
		}
		if strict {
			got[i].Fields = without(got[i].Fields, "x-forwarded-for", "x-forwarded-proto", "x-request-id")
			if got[i].String() != w.String() {
				say("the origin saw %q, want %q", got[i], w)
			}
			continue
		}
		if similar(got[i].Head) != similar(w.Head) || short(got[i].Body) != w.Body || !holds(got[i].Fields, w.Fields) || !holds(w.Trailers, got[i].Trailers) {
			say("the origin saw %q, want %q", got[i], w)
		}
	}
}

// similar makes the origin-form of a target: a proxy may send the absolute-form on.
func similar(head string) string {
	parts := strings.Split(shortHead(head), " ")
	if len(parts) != 3 {
		return head
	}
	if _, rest, ok := strings.Cut(parts[2], "://"); ok {
		i := strings.IndexAny(rest, "/?")
		if i < 0 {
			rest, i = rest+"/", len(rest)
		}
		parts[2] = rest[i:]
	}
	return parts[0] + " " + strings.ToLower(parts[1]) + " " + parts[2]
}

func without(fields []Field, names ...string) []Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f Field) bool {
		return slices.Contains(names, strings.ToLower(f.Name))
	})
}

func holds(fields, want []Field) bool {
	for _, w := range want {
		if !slices.ContainsFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, w.Name) && short(f.Value) == w.Value }) {
			return false
		}
	}
	return true
}

func (c *Case) judgeAnswer(r Result, strict bool, say func(string, ...any)) {
	if r.Next != "" && (strict || !strings.HasPrefix(r.Next, "EOF")) {
		say("the next request: %s", r.Next)
	}
	if len(r.Answers) == 0 {
		if last := c.Want[len(c.Want)-1]; strict || last.Whole() && !last.Refused() && last.Head != "more" {
			say("no answer")
		}
		return
	}
	got, want := r.Answers[0], c.Want[len(c.Want)-1]
	if len(c.Answers) > 0 {
		want, _ = ParseMessage(c.Answers[0])
	}
	if r.Extra != "" {
		say("then came %q", r.Extra)
	}
	refused := want.Refused() || want.Head == "more"
	switch {
	case refused && (got.Status() < 500 || strict && got.Status() != max(want.Status(), 502) && want.Head != "more"):
		say("the client saw %q, want %q", got, want)
	case !refused && !want.Whole():
		if got.Whole() && (strict || got.Status() < 500) || strict && got.Status() != want.Status() {
			say("the client saw %q, want %q", got, want)
		}
	case !refused:
		got.Fields = without(got.Fields, "date", "content-length", "connection", "server")
		if strict {
			want.Fields = slices.Clone(want.Fields)
			for i := range want.Fields {
				want.Fields[i].Name = textproto.CanonicalMIMEHeaderKey(want.Fields[i].Name)
			}
			slices.SortStableFunc(want.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
		}
		if got.Status() != want.Status() || short(got.Body) != want.Body || !holds(got.Fields, want.Fields) ||
			!holds(want.Trailers, got.Trailers) || strict && (len(got.Fields) != len(want.Fields) || len(got.Trailers) != len(want.Trailers)) {
			say("the client saw %q, want %q", got, want)
		}
	}
	if strict {
		c.judgeUpstream(r, refused || !want.Whole(), say)
	}
}

// judgeUpstream looks at what only the origin can see: interim answers passed on, and connections used again that must not be.
func (c *Case) judgeUpstream(r Result, broken bool, say func(string, ...any)) {
	var interim []string
	for _, w := range c.Want[:len(c.Want)-1] {
		if w.Status() != 100 {
			interim = append(interim, fmt.Sprint(w.Status()))
		}
	}
	if !broken && !slices.Equal(interim, r.Interim) {
		say("the client saw the interim answers %v, want %v", r.Interim, interim)
	}
	last := c.Want[len(c.Want)-1]
	ends := broken || c.UpstreamClosed || last.End == "end"
	for _, m := range r.Seen {
		if ends && m.Conn == r.NextConn {
			say("the upstream connection was used again")
		}
	}
}
