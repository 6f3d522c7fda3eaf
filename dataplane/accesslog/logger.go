// Package accesslog writes one line for each request or TCP connection, in the format that the configuration gives.
//
// In: a Record when an exchange ends. Out: JSON or text lines on a file, written by one goroutine. It must not know
// where a request came from or went; it only formats what the Record says.
package accesslog

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/format"
)

const (
	// bufferLimit is how many bytes may wait for a slow disk; what comes beyond is dropped and counted.
	bufferLimit = 4 << 20
	// flushAfter is how long a line may wait for others to be written with.
	flushAfter = 200 * time.Millisecond
	// flushAt is how many bytes are written without waiting.
	flushAt = 64 << 10
)

// Logger writes the lines of one sink. Log may be called by any number of goroutines; Close ends its own.
type Logger struct {
	format *line
	out    io.WriteCloser
	// dropped counts lines that found the buffer full.
	dropped atomic.Int64

	mu sync.Mutex
	// buffer and closed are guarded by mu.
	buffer []byte
	closed bool

	// wake tells the writer that a buffer is worth writing; it holds at most one signal.
	wake chan struct{}
	done chan struct{}
}

// line is a config.AccessLog, ready to be written.
type line struct {
	text []config.Part
	json []field
}

type field struct {
	// key is the JSON key, quoted, with its colon.
	key   string
	parts []config.Part
}

func compile(cfg *config.AccessLog) *line {
	if cfg.JSON == nil {
		return &line{text: cfg.Format}
	}
	l := &line{json: []field{}}
	for _, k := range slices.Sorted(maps.Keys(cfg.JSON)) {
		l.json = append(l.json, field{key: string(appendQuoted(nil, k)) + ":", parts: cfg.JSON[k]})
	}
	return l
}

// New opens a sink: a file is appended to (and made, mode 0640), /dev/stdout and /dev/stderr are the process's own.
func New(cfg *config.AccessLog) (*Logger, error) {
	var out io.WriteCloser
	switch cfg.Path {
	case "/dev/stdout":
		out = keepOpen{os.Stdout}
	case "/dev/stderr":
		out = keepOpen{os.Stderr}
	default:
		f, err := os.OpenFile(cfg.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, fmt.Errorf("accesslog: %w", err)
		}
		out = f
	}
	return newLogger(cfg, out), nil
}

func newLogger(cfg *config.AccessLog, out io.WriteCloser) *Logger {
	l := &Logger{format: compile(cfg), out: out, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// keepOpen is a file that is not ours to close.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// Log adds a record's line. It does not wait for the disk; when the disk is too slow, lines are dropped and counted.
func (l *Logger) Log(r *Record) {
	l.mu.Lock()
	if l.closed || len(l.buffer) > bufferLimit {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	was := len(l.buffer)
	l.buffer = l.format.append(l.buffer, r)
	// Under the lock, so that Close cannot close the channel in between.
	if was == 0 || was < flushAt && len(l.buffer) >= flushAt {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	l.mu.Unlock()
}

// Dropped is how many lines were lost since New.
func (l *Logger) Dropped() int64 { return l.dropped.Load() }

// Close writes what is buffered and closes the file. Lines that come later are dropped.
func (l *Logger) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.done
		return
	}
	l.closed = true
	close(l.wake)
	l.mu.Unlock()
	<-l.done
}

// run is the only writer.
func (l *Logger) run() {
	defer close(l.done)
	var spare []byte
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for open := true; open; {
		_, open = <-l.wake
		if open && l.pending() < flushAt {
			timer.Reset(flushAfter)
			select {
			case _, open = <-l.wake:
			case <-timer.C:
			}
		}
		l.mu.Lock()
		full := l.buffer
		l.buffer = spare[:0]
		l.mu.Unlock()
		if _, err := l.out.Write(full); err != nil {
			l.dropped.Add(1)
		}
		spare = full
		if cap(spare) > 1<<20 {
			spare = nil
		}
	}
	// What was added between the last write and Close.
	l.mu.Lock()
	rest := l.buffer
	l.buffer = nil
	l.mu.Unlock()
	if _, err := l.out.Write(rest); err != nil {
		l.dropped.Add(1)
	}
	_ = l.out.Close() // a log has nobody to tell
}

func (l *Logger) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buffer)
}

func (l *line) append(b []byte, r *Record) []byte {
	if l.json == nil {
		return appendText(b, l.text, r)
	}
	b = append(b, '{')
	for i := range l.json {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l.json[i].key...)
		b = appendJSON(b, l.json[i].parts, r)
	}
	return append(b, '}', '\n')
}

// appendJSON writes a number where the format is one operator that yields a number, null where it yields nothing, and
// a string else.
func appendJSON(b []byte, parts []config.Part, r *Record) []byte {
	if len(parts) == 1 && parts[0].Name != "" {
		switch v := format.Of(&parts[0], r); {
		case v.Numeric:
			return strconv.AppendInt(b, v.Number, 10)
		case v.Missing:
			return append(b, "null"...)
		default:
			return appendQuoted(b, v.Text)
		}
	}
	return appendQuoted(b, string(appendText(nil, parts, r)))
}

// appendQuoted writes a JSON string; what is not UTF-8 is replaced.
func appendQuoted(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
		}
	}
	return append(b, '"')
}
