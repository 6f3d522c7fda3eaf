package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"golang.org/x/tools/txtar"
)

// Scenario is definitions, and requests with what must come of them. README.md of e2e has the format.
type Scenario struct {
	Name string
	// Files are the definitions, with placeholders, by name.
	Files     []txtar.File
	Exchanges []*Exchange
}

// Exchange is one request, sent once or several times, and what must come of it.
type Exchange struct {
	// Line is where it stands in the file, and Label the comment above it.
	Line  int
	Label string
	Times int
	// Until: it is sent again until the outcome is as expected, or that has taken too long.
	Until bool

	// Names are what a block DNS changes: a name, and the upstreams at its addresses.
	Names []string

	Request Request
	// Port is the name of the port to dial, At the address.
	Port, At string

	Expect Expect
	// Envoy is what comes of it at Envoy, where that is known to differ; nil where it does not.
	Envoy *Expect
}

// Expect is what must come of a request.
type Expect struct {
	// Refused: the handshake fails, or the connection is closed without an answer.
	Refused bool
	Status  int
	// Served are the upstreams that see it; nil is none: the proxy answers itself.
	Served []Share
	// Client are lines that the client must see, Upstream those that the upstream must.
	Client, Upstream []Line
}

// looksAt tells whether an expectation of the client is about a name.
func (x *Expect) looksAt(name string) bool {
	return slices.ContainsFunc(x.Client, func(l Line) bool { return l.Name == name })
}

// Share is how many of the requests an upstream sees: exactly Count; or, if that is -1, about Percent; or, if that is -1
// too, any number.
type Share struct {
	Upstream string
	Count    int
	Percent  int
}

// Line is one expectation: a header (or a trailer), a pseudo-header such as :proto, or the body ("|").
type Line struct {
	Name, Value string
	Trailer     bool
}

// ReadScenario reads a txtar file.
func ReadScenario(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &Scenario{Name: strings.TrimSuffix(filepath.Base(path), ".txtar")}
	offset := 0
	for _, f := range txtar.Parse(data).Files {
		if f.Name != "requests" {
			s.Files = append(s.Files, f)
			continue
		}
		marker := strings.Index(string(data), "-- requests --")
		offset = strings.Count(string(data[:marker]), "\n") + 1
		text, err := expand(f)
		if err == nil {
			s.Exchanges, err = parseExchanges(text, offset)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%w", path, err)
		}
	}
	if len(s.Files) == 0 || len(s.Exchanges) == 0 {
		return nil, fmt.Errorf("%s: want definitions and requests", path)
	}
	return s, nil
}

// expand fills in {{repeat "text" times}}, the one placeholder of requests.
func expand(f txtar.File) (string, error) {
	t, err := template.New(f.Name).Funcs(template.FuncMap{"repeat": strings.Repeat}).Parse(string(f.Data))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = t.Execute(&text, nil)
	return text.String(), err
}

func parseExchanges(text string, line int) ([]*Exchange, error) {
	var all []*Exchange
	var e *Exchange
	label, answered := "", false
	for text := range strings.Lines(text) {
		line++
		text = strings.TrimRight(text, "\n")
		var err error
		switch {
		case text == "":
			if e != nil && !answered {
				return nil, fmt.Errorf("%d: want => before the end of the block", line)
			}
			e, answered = nil, false
			continue
		case strings.HasPrefix(text, "#"):
			label = strings.TrimSpace(label + " " + strings.TrimSpace(text[1:]))
			continue
		case e == nil:
			e, err = parseRequestLine(text)
			if err == nil {
				e.Line, e.Label, label = line, label, ""
				all = append(all, e)
			}
		case strings.HasPrefix(text, "=> "):
			answered = true
			err = e.parseOutcome(strings.Fields(text[3:]))
		case answered:
			err = e.parseExpectation(text)
		default:
			err = e.parseRequestPart(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line, err)
		}
	}
	return all, nil
}

var urlPattern = regexp.MustCompile(`^(https?)://(\[[^\]]*\]|[^/:?]*)(?::([a-z0-9-]+))?(.*)$`)

func parseRequestLine(text string) (*Exchange, error) {
	words := strings.Fields(text)
	if len(words) < 2 {
		return nil, fmt.Errorf("want METHOD URL, got %q", text)
	}
	e := &Exchange{Times: 1, At: "127.0.0.1"}
	r := &e.Request
	r.Method, r.Proto = words[0], "HTTP/1.1"
	if r.Method == "DNS" {
		r.Proto, e.Names = "DNS", words[1:]
		return e, nil
	}
	if r.Method == "RAW" || r.Method == "TCP" {
		r.Proto, e.Port = r.Method, words[1]
	} else {
		m := urlPattern.FindStringSubmatch(words[1])
		if m == nil {
			return nil, fmt.Errorf("want http:// or https://, got %q", words[1])
		}
		r.TLS, r.Authority, e.Port, r.Path = m[1] == "https", m[2], m[3], m[4]
		if r.TLS && net.ParseIP(strings.Trim(r.Authority, "[]")) == nil {
			r.SNI = r.Authority
		}
		if e.Port == "" {
			e.Port = m[1]
		}
		r.Authority += ":" + e.Port
		if r.Path == "" {
			r.Path = "/"
		}
	}
	for _, flag := range words[2:] {
		key, value, _ := strings.Cut(flag, "=")
		var err error
		switch {
		case flag == "h2":
			r.Proto = "HTTP/2"
		case flag == "HTTP/1.0":
			r.Proto = flag
		case flag == "chunked":
			r.Chunked = true
		case flag == "until":
			e.Until = true
		case flag == "open":
			r.Open = true
		case flag == "late":
			r.Late = true
		case flag == "tls":
			r.TLS = true
		case key == "sni":
			r.SNI = value
		case key == "cert":
			r.Cert = value
		case key == "at":
			e.At = value
		case key == "upgrade":
			r.Upgrade = value
		case key == "body":
			var n int
			n, err = strconv.Atoi(value)
			r.Body = Pattern(n)
		case flag[0] == 'x':
			e.Times, err = strconv.Atoi(flag[1:])
		default:
			err = fmt.Errorf("not known")
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", flag, err)
		}
	}
	return e, nil
}

func (e *Exchange) parseRequestPart(text string) error {
	r := &e.Request
	if part, ok := strings.CutPrefix(text, "|"); ok {
		part = strings.TrimPrefix(part, " ")
		if r.Proto == "RAW" {
			raw, err := strconv.Unquote(`"` + strings.ReplaceAll(part, `"`, `\"`) + `"`)
			if err != nil {
				return fmt.Errorf("%q: %w", part, err)
			}
			r.Body = append(r.Body, raw+"\r\n"...)
			return nil
		}
		r.Body = append(r.Body, part+"\n"...)
		return nil
	}
	if ahead, ok := strings.CutPrefix(text, "^"); ok {
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.TrimPrefix(ahead, " "), `"`, `\"`) + `"`)
		if err != nil {
			return fmt.Errorf("%q: %w", ahead, err)
		}
		r.Ahead = append(r.Ahead, raw...)
		return nil
	}
	text, trailer := strings.CutPrefix(text, "~")
	name, value, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok {
		return fmt.Errorf("want name: value, | body or =>, got %q", text)
	}
	f := Field{name, strings.TrimSpace(value)}
	switch {
	case trailer:
		r.Trailer = append(r.Trailer, f)
	case name == "host":
		r.Authority = f.Value
	default:
		r.Header = append(r.Header, f)
	}
	return nil
}

var sharePattern = regexp.MustCompile(`^([a-z0-9-]+)(?:([=~])([0-9]+)|\?)?$`)

func (e *Exchange) parseOutcome(words []string) error {
	expect := &e.Expect
	if words[0] == Envoy && len(words) > 1 {
		e.Envoy = &Expect{}
		expect, words = e.Envoy, words[1:]
	}
	switch words[0] {
	case "refused":
		expect.Refused = true
	case "ok":
	default:
		status, err := strconv.Atoi(words[0])
		if err != nil {
			return fmt.Errorf("want a status, ok or refused, got %q", words[0])
		}
		expect.Status = status
	}
	for _, w := range words[1:] {
		m := sharePattern.FindStringSubmatch(w)
		if m == nil {
			return fmt.Errorf("want upstream, upstream=count, upstream~percent or upstream?, got %q", w)
		}
		share := Share{Upstream: m[1], Count: e.Times}
		if strings.HasSuffix(w, "?") {
			share.Count, share.Percent = -1, -1
		}
		if n, err := strconv.Atoi(m[3]); err == nil {
			if share.Count = n; m[2] == "~" {
				share.Count, share.Percent = -1, n
			}
		}
		expect.Served = append(expect.Served, share)
	}
	return nil
}

func (e *Exchange) parseExpectation(text string) error {
	expect := &e.Expect
	if e.Envoy != nil {
		expect = e.Envoy
	}
	side, lines := text[0], &expect.Client
	if side == '>' {
		lines = &expect.Upstream
	} else if side != '<' {
		return fmt.Errorf("want < what the client sees or > what the upstream sees, got %q", text)
	}
	text = text[1:]
	if body, ok := strings.CutPrefix(text, "|"); ok {
		*lines = append(*lines, Line{Name: "|", Value: strings.TrimPrefix(body, " ")})
		return nil
	}
	text, trailer := strings.CutPrefix(text, "~")
	text = strings.TrimSpace(text)
	if method, path, ok := strings.Cut(text, " /"); side == '>' && ok && strings.ToUpper(method) == method {
		*lines = append(*lines, Line{Name: ":method", Value: method}, Line{Name: ":path", Value: "/" + path})
		return nil
	}
	at := strings.Index(text[1:], ":") + 1 // ":proto" begins with one
	if at == 0 {
		return fmt.Errorf("want name: value, got %q", text)
	}
	*lines = append(*lines, Line{Name: text[:at], Value: strings.TrimSpace(text[at+1:]), Trailer: trailer})
	return nil
}
