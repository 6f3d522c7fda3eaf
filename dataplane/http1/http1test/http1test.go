// Package http1test is the corpus of messages that are hard to read right (../testdata), and what plays them through a
// proxy: a raw client on one side, a raw origin on the other.
//
// In: the folder of the corpus, the address of a proxy in front of an Origin. Out: what the client and the origin saw,
// and how that differs from what the case wants. It must not know the codec it tests, nor any other: it shares no parser
// with them.
//
// A file of the corpus is a group; testdata/requests are what clients send, testdata/answers what upstreams do. A case is
// lines of "key: value", and the bytes, quoted as Go does:
//
//	-- two-lengths --
//	rfc: 9112 6.3
//	must: refuse lengths that differ
//	"POST / HTTP/1.1\r\n"
//	"Host: a.test\r\n"
//	"X: " "a" x 70
//	pause
//	"\r\n"
//	want: 400
//
// must is what the RFC leaves no choice about; ours is our choice, with its reason. want is what the bytes mean, one line a
// message: for a request METHOD AUTHORITY TARGET, fields as name=value, body=, trailer=name:value (quoted where they hold
// a space or worse), and its end: "end" ends the connection, "more" is not whole, a status breaks it off. A status alone
// refuses it. So with answers: STATUS REASON, fields, body; 502 refuses.
//
// Through a proxy the origin sees the same, and the client 200, but for:
//
//	origin: what the origin sees instead, one line a message; "nothing"
//	answer: the status that the client sees instead, one a message; "404 end" if the connection ends. What a client
//	    sees of an upstream's answer instead; "502" refuses
//	or: what another proxy may take the bytes for instead, where the RFC says so
//	accept: HTTP/1.0, if the listener is to serve it
//	method: what an answer answers; GET if left out
//	pause: the bytes after it go in a write of their own
//	await: 100, which the client waits for before it sends the rest
//	close: the origin closes after its bytes
//	later: bytes that the origin sends when the client has its answer
//	upstream: "closed", if the upstream connection must not be used again
package http1test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"
)

// Case is one case of the corpus.
type Case struct {
	// Group is its file's name, RFC number and section.
	Group, Name, RFC string
	// Must: the RFC leaves no choice; Why says what it demands, or why we choose so.
	Must bool
	Why  string
	// IsAnswer: the bytes are an upstream's, to a request of Method.
	IsAnswer bool
	Method   string
	// HTTP10: the listener serves HTTP/1.0.
	HTTP10 bool
	Writes []Write
	// Close: the origin closes after its bytes. Later are bytes it sends when the client has its answer.
	Close bool
	Later string
	// UpstreamClosed: the upstream connection must not be used again.
	UpstreamClosed bool

	Want []Message
	// Origin is what the origin sees, if it is not what Want says; Answers are the statuses that the client sees, if they
	// are not 200.
	Origin    []Message
	HasOrigin bool
	Answers   []string
	// Or is what another proxy may take the bytes for instead.
	Or []Message
}

// Write is a write of the client or the origin.
type Write struct {
	// Await100: the client reads a 100 before.
	Await100 bool
	Bytes    string
}

// Bytes are all of them.
func (c *Case) Bytes() string {
	var b strings.Builder
	for _, w := range c.Writes {
		b.WriteString(w.Bytes)
	}
	return b.String()
}

// ID is group/name.
func (c *Case) ID() string { return c.Group + "/" + c.Name }

// Load reads the cases of a folder: testdata/requests or testdata/answers.
func Load(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("http1test: no cases in %s", dir)
	}
	var cases []*Case
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		group := strings.TrimSuffix(filepath.Base(file), ".txtar")
		seen := map[string]bool{}
		for _, f := range txtar.Parse(data).Files {
			c := &Case{Group: group, Name: f.Name, IsAnswer: filepath.Base(dir) == "answers", Method: "GET"}
			if err := c.parse(string(f.Data)); err != nil {
				return nil, fmt.Errorf("http1test: %s: %s: %w", file, f.Name, err)
			}
			if seen[f.Name] {
				return nil, fmt.Errorf("http1test: %s: %s is there twice", file, f.Name)
			}
			seen[f.Name] = true
			cases = append(cases, c)
		}
	}
	return cases, nil
}

func (c *Case) parse(text string) error {
	next := Write{}
	flush := func() {
		if next.Bytes != "" || next.Await100 {
			c.Writes = append(c.Writes, next)
		}
		next = Write{}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		key, value, _ := strings.Cut(line, ": ")
		var err error
		switch {
		case line == "":
		case line[0] == '"':
			var s string
			s, err = unquote(line)
			next.Bytes += s
		case line == "pause":
			flush()
		case line == "await: 100":
			flush()
			next.Await100 = true
		case line == "close":
			c.Close = true
		case line == "accept: HTTP/1.0":
			c.HTTP10 = true
		case line == "upstream: closed":
			c.UpstreamClosed = true
		case line == "origin: nothing":
			c.HasOrigin = true
		case key == "rfc":
			c.RFC = value
		case key == "must" || key == "ours":
			c.Must, c.Why = key == "must", value
		case key == "method":
			c.Method = value
		case key == "later":
			c.Later, err = unquote(value)
		case key == "answer":
			c.Answers = append(c.Answers, value)
			_, err = ParseMessage(value)
		case key == "want":
			err = appendMessage(&c.Want, value)
		case key == "or":
			err = appendMessage(&c.Or, value)
		case key == "origin":
			c.HasOrigin = true
			err = appendMessage(&c.Origin, value)
		default:
			err = fmt.Errorf("got the line %q", line)
		}
		if err != nil {
			return err
		}
	}
	flush()
	if c.RFC == "" || c.Why == "" || len(c.Want) == 0 {
		return fmt.Errorf("rfc, must or ours, or want is missing")
	}
	return nil
}

func appendMessage(list *[]Message, text string) error {
	m, err := ParseMessage(text)
	*list = append(*list, m)
	return err
}

// unquote reads quoted strings, one after another, each maybe with "x 70" behind it.
func unquote(line string) (string, error) {
	var b strings.Builder
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
		s, err := strconv.Unquote(quoted)
		if err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
		line = strings.TrimSpace(line[len(quoted):])
		times := 1
		if rest, ok := strings.CutPrefix(line, "x "); ok {
			digits, after, _ := strings.Cut(rest, " ")
			if times, err = strconv.Atoi(digits); err != nil {
				return "", fmt.Errorf("%q: %w", line, err)
			}
			line = after
		}
		b.WriteString(strings.Repeat(s, times))
	}
	return b.String(), nil
}
