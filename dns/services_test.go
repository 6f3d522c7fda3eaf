package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const serviceName = "_http._tcp.app.test."

func showServices(records []Service, ttl time.Duration, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%d %d %s:%d", r.Priority, r.Weight, r.Target, r.Port))
	}
	return fmt.Sprintf("[%s] %s", strings.Join(out, ", "), ttl)
}

// raw is an answer with one record, whose body is as it stands; its owner is the name that is asked for.
func raw(h dnsmessage.Header, q dnsmessage.Question, t dnsmessage.Type, body ...byte) []byte {
	h.Response = true
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	_ = b.UnknownResource(dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, dnsmessage.UnknownResource{Type: t, Data: body})
	m, _ := b.Finish()
	return m
}

// TestServices: what is taken of an answer with SRV records, and what is not, whoever wrote it.
func TestServices(t *testing.T) {
	type header = dnsmessage.Header
	type asked = dnsmessage.Question
	records := func(list ...rr) func(string, header, asked) [][]byte {
		return func(_ string, h header, q asked) [][]byte { return [][]byte{message(h, q, list...)} }
	}
	code := func(c dnsmessage.RCode) func(string, header, asked) [][]byte {
		return func(_ string, h header, q asked) [][]byte {
			h.RCode = c
			return [][]byte{message(h, q)}
		}
	}
	body := func(bytes ...byte) func(string, header, asked) [][]byte {
		return func(_ string, h header, q asked) [][]byte { return [][]byte{raw(h, q, dnsmessage.TypeSRV, bytes...)} }
	}
	var many []rr
	for i := range 1200 {
		many = append(many, rr{serviceName, 60, fmt.Sprintf("0 1 %d a.test.", i+1)})
	}
	for _, c := range []struct {
		name   string
		answer func(network string, h header, q asked) [][]byte
		want   string
	}{
		{"in the order of the answer, in lower case", records(
			rr{serviceName, 60, "20 1 8082 V2.app.TEST."}, rr{serviceName, 30, "10 60 8081 v1.app.test."},
		), "[20 1 v2.app.test:8082, 10 60 v1.app.test:8081] 30s"},
		{"each once", records(
			rr{serviceName, 60, "10 60 81 v1.test."}, rr{serviceName, 60, "10 60 81 V1.test."}, rr{serviceName, 60, "10 60 82 v1.test."}, rr{serviceName, 60, "11 60 81 v1.test."},
		), "[10 60 v1.test:81, 10 60 v1.test:82, 11 60 v1.test:81] 1m0s"},
		{"an alias of an alias", records(
			rr{"c.test.", 60, "0 0 80 v1.test."}, rr{"b.TEST.", 20, "c.test."}, rr{serviceName, 60, "B.test."},
		), "[0 0 v1.test:80] 20s"},
		{"an alias that leads in a circle", records(rr{serviceName, 60, "b.test."}, rr{"b.test.", 60, serviceName}), "[] 0s"},
		{"another's record", records(rr{"_http._tcp.evil.test.", 60, "0 0 80 evil.test."}), "[] 0s"},
		{"another's record beside its own", records(
			rr{"_http._tcp.evil.test.", 1, "0 0 80 evil.test."}, rr{serviceName, 60, "0 0 80 v1.test."},
		), "[0 0 v1.test:80] 1m0s"},
		{"the record of a name that only looks like the alias", records(
			rr{serviceName, 60, "k.test."}, rr{"\u212a.test.", 60, "0 0 80 v1.test."},
		), "[] 0s"},
		{"another type", records(rr{serviceName, 60, "10.0.0.1"}), "[] 0s"},
		{"no such name", code(dnsmessage.RCodeNameError), "[] 0s"},
		{"no records", records(), "[] 0s"},
		{"decidedly not available", records(rr{serviceName, 60, "0 0 0 ."}), "[] 0s"},
		{"decidedly not available, with a port", records(rr{serviceName, 60, "0 0 80 ."}), "[] 0s"},
		{"port 0", records(rr{serviceName, 60, "0 0 0 v1.test."}, rr{serviceName, 60, "0 0 1 v2.test."}), "[0 0 v2.test:1] 1m0s"},
		{"an address as a target", records(rr{serviceName, 60, "0 0 80 10.0.0.1."}), "[] 0s"},
		{"a target that is no host's name", body(0, 0, 0, 0, 0, 80, 3, 'a', '%', '\n', 0), "[] 0s"},
		{"a target with another's letters", body(0, 0, 0, 0, 0, 80, 3, 0xe2, 0x84, 0xaa, 0), "[] 0s"}, // K for kelvin
		{"a server that fails", code(dnsmessage.RCodeServerFailure), "error: ADDRESS: the resolver answers ServerFailure"},
		{"a server that refuses", code(dnsmessage.RCodeRefused), "error: ADDRESS: the resolver answers Refused"},
		{"a TTL of years", records(rr{serviceName, 1 << 30, "0 0 80 v1.test."}), "[0 0 v1.test:80] 24h0m0s"},
		{"a TTL of nothing", records(rr{serviceName, 0, "0 0 80 v1.test."}), "[0 0 v1.test:80] 0s"},
		// The question's name stands at byte 12, the record's body at 12+22+4+12.
		{"a target that points to the question's name", body(0, 1, 0, 2, 0, 80, 0xc0, 12+11), "[1 2 app.test:80] 1m0s"},
		{"a target that points to itself", body(0, 0, 0, 0, 0, 80, 0xc0, 12+22+4+12+6), "error: ADDRESS: malformed answer"},
		{"a target that grows as it points back", body(0, 0, 0, 0, 0, 80, 1, 'a', 0xc0, 12+22+4+12+6), "error: ADDRESS: malformed answer"},
		{"a target that points beyond the end", body(0, 0, 0, 0, 0, 80, 0xff, 0xff), "error: ADDRESS: malformed answer"},
		{"a body that is too short", body(0, 0, 0, 0, 0), "error: ADDRESS: malformed answer"},
		{"an alias that points to itself", func(_ string, h header, q asked) [][]byte {
			return [][]byte{raw(h, q, dnsmessage.TypeCNAME, 0xc0, 12+22+4+12)}
		}, "error: ADDRESS: malformed answer"},
		{"too long for UDP", func(network string, h header, q asked) [][]byte {
			if h.Truncated = network == "udp"; h.Truncated {
				return [][]byte{message(h, q, rr{serviceName, 60, "0 0 80 half.test."})}
			}
			return [][]byte{message(h, q, rr{serviceName, 60, "0 0 80 v1.test."})}
		}, "[0 0 v1.test:80] 1m0s"},
		{"cut over TCP too", func(_ string, h header, q asked) [][]byte {
			h.Truncated = true
			return [][]byte{message(h, q)}
		}, "error: ADDRESS: malformed answer"},
		{"too many", func(network string, h header, q asked) [][]byte {
			if h.Truncated = network == "udp"; h.Truncated {
				return [][]byte{message(h, q)}
			}
			return [][]byte{message(h, q, many...)}
		}, "1000 records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.answer)
			client := &Client{ResolvConf: filepath.Join(t.TempDir(), "none")}
			records, ttl, err := client.Services(context.Background(), strings.TrimSuffix(serviceName, "."), []string{s.address})
			got := showServices(records, ttl, err)
			if len(records) > 100 {
				got = fmt.Sprint(len(records), " records")
			}
			if got = strings.ReplaceAll(got, s.address, "ADDRESS"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			for _, asked := range s.take() {
				if asked != "SRV "+serviceName {
					t.Errorf("asked for %s", asked)
				}
			}
		})
	}
}

// TestServicesSearch: the search domains, in order, until records come; and what fails on the way.
func TestServicesSearch(t *testing.T) {
	s := serve(t, func(_ string, h dnsmessage.Header, q dnsmessage.Question) [][]byte {
		switch name := q.Name.String(); name {
		case "_a._tcp.two.test.":
			return [][]byte{message(h, q, rr{name, 60, "0 0 80 v1.test."})}
		case "_gone._tcp.one.test.":
			return [][]byte{message(h, q, rr{name, 60, "0 0 0 ."})}
		case "_gone._tcp.two.test.":
			return [][]byte{message(h, q, rr{name, 60, "0 0 80 v2.test."})}
		case "_bad._tcp.one.test.":
			h.RCode = dnsmessage.RCodeServerFailure
			return [][]byte{message(h, q)}
		}
		h.RCode = dnsmessage.RCodeNameError
		return [][]byte{message(h, q)}
	})
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("search one.test two.test\noptions ndots:2 timeout:5 attempts:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Client{ResolvConf: path}
	for _, test := range []struct {
		name, want string
		questions  int
	}{
		{"_a._tcp", "[0 0 v1.test:80] 1m0s", 2},
		{"_a._tcp.two.test", "[0 0 v1.test:80] 1m0s", 1},
		{"_a._tcp.", "[] 0s", 1},
		{"_gone._tcp", "[] 0s", 1},
		{"_bad._tcp", "error: ADDRESS: the resolver answers ServerFailure", 3},
		{"_none._tcp", "[] 0s", 3},
		{strings.Repeat("a", 64) + ".test.", "error: ", 0},
		{strings.Repeat("a.", 200), "error: ", 0},
	} {
		records, ttl, err := c.Services(context.Background(), test.name, []string{s.address})
		asked := s.take()
		got := strings.ReplaceAll(showServices(records, ttl, err), s.address, "ADDRESS")
		if !strings.HasPrefix(got, test.want) || len(asked) != test.questions {
			t.Errorf("%s: got %s after %v, want %s after %d questions", test.name, got, asked, test.want, test.questions)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := c.Services(ctx, "_a._tcp", []string{s.address}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end at once", err)
	}
}

// FuzzAnswer: whatever a server says, there is an answer or an error, no panic, and nothing beyond the bounds.
func FuzzAnswer(f *testing.F) {
	h := dnsmessage.Header{ID: 1}
	questions := map[dnsmessage.Type]dnsmessage.Question{}
	for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeSRV} {
		questions[t] = dnsmessage.Question{Name: dnsmessage.MustNewName("a.test."), Type: t, Class: dnsmessage.ClassINET}
	}
	q := questions[dnsmessage.TypeA]
	f.Add(message(h, q, rr{"a.test.", 60, "b.test."}, rr{"b.test.", 60, "10.0.0.1"}))
	f.Add(message(h, q, rr{"a.test.", 60, "a.test."}))
	f.Add(message(h, questions[dnsmessage.TypeAAAA], rr{"a.test.", 60, "2001:db8::1"}))
	f.Add(message(h, questions[dnsmessage.TypeSRV], rr{"a.test.", 60, "10 60 80 V1.test."}, rr{"a.test.", 60, "0 0 0 ."}))
	f.Add(raw(h, questions[dnsmessage.TypeSRV], dnsmessage.TypeSRV, 0, 1, 0, 2, 0, 80, 1, '%', 0xc0, 12))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, m []byte) {
		for kind, q := range questions {
			a, truncated := readAnswer(m, q)
			if (a.err != nil || truncated) && len(a.records) > 0 || a.ttl < 0 || a.ttl > maxTTL || len(a.records) > maxRecords {
				t.Errorf("got %v, truncated %v", a, truncated)
			}
			_ = answers(m, 1, q)
			if kind == dnsmessage.TypeSRV {
				services := a.services()
				for i, s := range services {
					if s.Port == 0 || s.Target == "" || strings.ContainsAny(s.Target, " %\n\x00ABC") || slices.Contains(services[:i], s) {
						t.Errorf("got %v", services)
					}
				}
				continue
			}
			for _, ip := range a.reply().Addresses {
				if ip.Is4() != (kind == dnsmessage.TypeA) {
					t.Errorf("got %v of a question for %v", ip, kind)
				}
			}
		}
	})
}
