package http1test

import (
	"fmt"
	"strconv"
	"strings"
)

// Field is a header line.
type Field struct{ Name, Value string }

// Message is what a request or an answer means, or was seen as.
type Message struct {
	// Head is "METHOD AUTHORITY TARGET" or "STATUS REASON"; a status alone is a refusal, and "more" a head that is not whole.
	Head   string
	Fields []Field
	// Body is decoded.
	Body     string
	Trailers []Field
	// End: "end" ends the connection, "more" is not whole, a status is what its body is refused with.
	End string
	// Problem is what makes it ambiguous: only of what an origin saw.
	Problem string
	// Conn numbers the connection: only of what an origin saw.
	Conn int
}

// Refused tells whether the message is refused: a status alone.
func (m Message) Refused() bool { return isStatus(m.Head) }

// Whole tells whether it was read to its end.
func (m Message) Whole() bool { return m.End == "" || m.End == "end" }

// Method is a request's.
func (m Message) Method() string {
	method, _, _ := strings.Cut(m.Head, " ")
	return method
}

// Status is an answer's, or that of a refusal.
func (m Message) Status() int {
	status, _ := strconv.Atoi(m.Method())
	return status
}

func isStatus(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 400 && n < 600
}

// String is as the corpus writes it.
func (m Message) String() string {
	var b strings.Builder
	b.WriteString(shortHead(m.Head))
	for _, f := range m.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Name, quote(f.Value))
	}
	if m.Body != "" {
		b.WriteString(" body=" + quote(m.Body))
	}
	for _, f := range m.Trailers {
		fmt.Fprintf(&b, " trailer=%s:%s", f.Name, quote(f.Value))
	}
	if m.End != "" {
		b.WriteString(" " + m.End)
	}
	if m.Problem != "" {
		b.WriteString(" (" + m.Problem + ")")
	}
	return b.String()
}

// short is what stands for a long string: its beginning and its length.
func short(s string) string {
	if len(s) <= 100 {
		return s
	}
	return fmt.Sprintf("%.20s…%d", s, len(s))
}

func shortHead(head string) string {
	words := strings.Split(head, " ")
	for i := range words {
		words[i] = short(words[i])
	}
	return strings.Join(words, " ")
}

func quote(s string) string {
	s = short(s)
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\' {
			return strconv.Quote(s)
		}
	}
	return s
}

// ParseMessage reads what String writes: what is long stays short.
func ParseMessage(text string) (Message, error) {
	var m Message
	var head []string
	for rest := text; rest != ""; {
		if rest[0] == ' ' {
			rest = rest[1:]
			continue
		}
		// A word ends at a space that is not within quotes.
		end, inside := 0, false
		for ; end < len(rest) && (inside || rest[end] != ' '); end++ {
			switch {
			case rest[end] == '\\' && inside:
				end++
			case rest[end] == '"':
				inside = !inside
			}
		}
		word := rest[:min(end, len(rest))]
		rest = rest[len(word):]
		name, value, isField := strings.Cut(word, "=")
		request := len(head) > 0 && len(head) < 3 && !isDigits(head[0])
		switch {
		case len(head) == 0 || request || !isField && m.Fields == nil && rest != "" && isDigits(head[0]):
			head = append(head, word)
		case isField:
			if err := m.parseField(name, value); err != nil {
				return m, fmt.Errorf("%q: %w", text, err)
			}
		case word == "end" || word == "more" || isStatus(word):
			m.End = word
		case isDigits(head[0]):
			head = append(head, word)
		default:
			return m, fmt.Errorf("%q: got %q, want name=value or how it ends", text, word)
		}
	}
	m.Head = strings.Join(head, " ")
	return m, nil
}

func (m *Message) parseField(name, value string) error {
	trailer := name == "trailer"
	if trailer {
		name, value, _ = strings.Cut(value, ":")
	}
	if strings.HasPrefix(value, `"`) {
		var err error
		if value, err = strconv.Unquote(value); err != nil {
			return err
		}
	}
	switch {
	case trailer:
		m.Trailers = append(m.Trailers, Field{name, value})
	case name == "body":
		m.Body = value
	default:
		m.Fields = append(m.Fields, Field{name, value})
	}
	return nil
}

func isDigits(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}
