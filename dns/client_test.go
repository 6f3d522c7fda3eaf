package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers over UDP and TCP at one address, as a test says.
type server struct {
	address string
	// answer makes a message of a query; nil is silence.
	answer func(network string, h dnsmessage.Header, q dnsmessage.Question) [][]byte

	mu    sync.Mutex
	asked []string
}

func serve(t *testing.T, answer func(network string, h dnsmessage.Header, q dnsmessage.Question) [][]byte) *server {
	t.Helper()
	s := &server{answer: answer}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	packets, err := net.ListenPacket("udp", s.address)
	if err != nil {
		t.Skip("the port is another's over UDP")
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); packets.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, m := range s.reply(t, "udp", buf[:n]) {
				_, _ = packets.WriteTo(m, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			_, _ = io.ReadFull(c, size[:])
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			_, _ = io.ReadFull(c, query)
			for _, m := range s.reply(t, "tcp", query) {
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
			}
			c.Close()
		}
	})
	return s
}

func (s *server) reply(t *testing.T, network string, query []byte) [][]byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		t.Errorf("query: %v", err)
		return nil
	}
	q, err := p.Question()
	if err != nil {
		t.Errorf("query: %v", err)
		return nil
	}
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name.String())
	s.mu.Unlock()
	return s.answer(network, h, q)
}

// take is what has been asked since the last take.
func (s *server) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// rr is a record of an answer.
type rr struct {
	owner string
	ttl   uint32
	value string // an IPv4 or IPv6 address, the name of a CNAME, or "priority weight port target" of an SRV record
}

func message(h dnsmessage.Header, q dnsmessage.Question, records ...rr) []byte {
	h.Response = true
	b := dnsmessage.NewBuilder(nil, h)
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	for _, r := range records {
		header := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(r.owner), Class: dnsmessage.ClassINET, TTL: r.ttl}
		switch ip := net.ParseIP(r.value); {
		case strings.Contains(r.value, " "):
			var srv dnsmessage.SRVResource
			var target string
			_, _ = fmt.Sscan(r.value, &srv.Priority, &srv.Weight, &srv.Port, &target)
			srv.Target = dnsmessage.MustNewName(target)
			_ = b.SRVResource(header, srv)
		case ip == nil:
			_ = b.CNAMEResource(header, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(r.value)})
		case ip.To4() != nil:
			_ = b.AResource(header, dnsmessage.AResource{A: [4]byte(ip.To4())})
		default:
			_ = b.AAAAResource(header, dnsmessage.AAAAResource{AAAA: [16]byte(ip)})
		}
	}
	m, _ := b.Finish()
	return m
}

func show(r Reply) string {
	if r.Err != nil {
		return "error: " + r.Err.Error()
	}
	return fmt.Sprint(r.Addresses, " ", r.TTL)
}

// TestExchange: what is taken of a server's answers, and what is not.
func TestExchange(t *testing.T) {
	many := make([]rr, 100)
	for i := range many {
		many[i] = rr{"a.test.", 60, fmt.Sprintf("10.0.0.%d", i)}
	}
	type header = dnsmessage.Header
	type asked = dnsmessage.Question
	for _, c := range []struct {
		name   string
		answer func(network string, h header, q asked) [][]byte
		want   string
	}{
		{"addresses", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"a.test.", 60, "10.0.0.2"}, rr{"a.test.", 30, "10.0.0.1"})}
		}, "[10.0.0.2 10.0.0.1] 30s"},
		{"an alias of an alias, in any order and case", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"c.test.", 60, "10.0.0.1"}, rr{"B.test.", 50, "c.test."}, rr{"a.test.", 40, "b.TEST."})}
		}, "[10.0.0.1] 40s"},
		{"an alias that leads in a circle", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"a.test.", 60, "b.test."}, rr{"b.test.", 60, "a.test."})}
		}, "[] 0s"},
		{"another's address", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"b.test.", 60, "10.0.0.1"})}
		}, "[] 0s"},
		{"another type", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"a.test.", 60, "2001:db8::1"})}
		}, "[] 0s"},
		{"no such name", func(_ string, h header, q asked) [][]byte {
			h.RCode = dnsmessage.RCodeNameError
			return [][]byte{message(h, q)}
		}, "[] 0s"},
		{"a server that fails", func(_ string, h header, q asked) [][]byte {
			h.RCode = dnsmessage.RCodeServerFailure
			return [][]byte{message(h, q)}
		}, "error: ADDRESS: the resolver answers ServerFailure"},
		{"forged and broken ones first", func(_ string, h header, q asked) [][]byte {
			good := message(h, q, rr{"a.test.", 60, "10.0.0.1"})
			evil := rr{"a.test.", 60, "10.6.6.6"}
			other, query := h, h
			other.ID++
			another := q
			another.Name = dnsmessage.MustNewName("b.test.")
			alike := q
			alike.Name = dnsmessage.MustNewName("a.te\u017ft.")
			return [][]byte{
				message(other, q, evil), message(h, another, evil), message(h, alike, rr{"a.test.", 60, "10.6.6.6"}), append([]byte(nil), good[:7]...),
				func() []byte { b := message(query, q, evil); b[2] &^= 0x80; return b }(), good,
			}
		}, "[10.0.0.1] 1m0s"},
		{"a record that is cut", func(_ string, h header, q asked) [][]byte {
			m := message(h, q, rr{"a.test.", 60, "10.0.0.1"})
			return [][]byte{m[:len(m)-2]}
		}, "error: ADDRESS: malformed answer"},
		{"too long for UDP", func(network string, h header, q asked) [][]byte {
			if h.Truncated = network == "udp"; h.Truncated {
				return [][]byte{message(h, q)}
			}
			return [][]byte{message(h, q, many[:3]...)}
		}, "[10.0.0.0 10.0.0.1 10.0.0.2] 1m0s"},
		{"cut over TCP too", func(_ string, h header, q asked) [][]byte {
			h.Truncated = true
			return [][]byte{message(h, q)}
		}, "[] 0s"},
		{"forged over TCP", func(network string, h header, q asked) [][]byte {
			if h.Truncated = network == "udp"; !h.Truncated {
				h.ID++
			}
			return [][]byte{message(h, q)}
		}, "error: ADDRESS: malformed answer"},
		{"a TTL of years", func(_ string, h header, q asked) [][]byte {
			return [][]byte{message(h, q, rr{"a.test.", 1 << 30, "10.0.0.1"})}
		}, "[10.0.0.1] 24h0m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.answer)
			got := show(exchange(context.Background(), s.address, "a.test.", dnsmessage.TypeA, 5*time.Second).reply())
			if got = strings.ReplaceAll(got, s.address, "ADDRESS"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestSilence: a server that says nothing is given up after its time, and the next is asked.
func TestSilence(t *testing.T) {
	silent := serve(t, func(string, dnsmessage.Header, dnsmessage.Question) [][]byte { return nil })
	good := serve(t, func(_ string, h dnsmessage.Header, q dnsmessage.Question) [][]byte {
		return [][]byte{message(h, q, rr{"a.test.", 60, "10.0.0.1"})}
	})
	conf := &resolvConf{servers: []string{silent.address, good.address}, attempts: 2, timeout: 20 * time.Millisecond}
	if got := show(conf.query(context.Background(), "a.test.", dnsmessage.TypeA).reply()); got != "[10.0.0.1] 1m0s" {
		t.Errorf("got %s", got)
	}
	conf.servers = conf.servers[:1]
	silent.take()
	if got := conf.query(context.Background(), "a.test.", dnsmessage.TypeA); got.err == nil {
		t.Errorf("got %s, want an error", show(got.reply()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	conf.timeout = time.Hour
	if got := conf.query(ctx, "a.test.", dnsmessage.TypeA); got.err == nil {
		t.Errorf("got %s, want the end at once", show(got.reply()))
	}
}

// TestAddresses: the files of the system, and what they spare.
func TestAddresses(t *testing.T) {
	s := serve(t, func(_ string, h dnsmessage.Header, q dnsmessage.Question) [][]byte {
		switch name := q.Name.String(); {
		case name == "app.two.test." && q.Type == dnsmessage.TypeA:
			return [][]byte{message(h, q, rr{name, 60, "10.0.0.1"})}
		case name == "app.two.test.":
			return [][]byte{message(h, q)}
		}
		h.RCode = dnsmessage.RCodeNameError
		return [][]byte{message(h, q)}
	})
	dir := t.TempDir()
	c := &Client{ResolvConf: filepath.Join(dir, "resolv.conf"), Hosts: filepath.Join(dir, "hosts")}
	for path, text := range map[string]string{
		c.ResolvConf: "# nothing\nsearch one.test two.test.\noptions ndots:2 timeout:1 attempts:1\n",
		c.Hosts:      "# 10.9.9.9 app\n10.0.0.7 db.internal DB2 # mine\n2001:db8::7\tdb.internal\nnonsense db.internal\n::1 localhost\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both, four, six := [Families]bool{true, true}, [Families]bool{V4: true}, [Families]bool{V6: true}
	for _, test := range []struct {
		host      string
		want      [Families]bool
		four, six string
		questions int
	}{
		{"app", both, "[10.0.0.1] 1m0s", "[] 0s", 4},
		{"app", four, "[10.0.0.1] 1m0s", "[] 0s", 2},
		{"app.", four, "[] 0s", "[] 0s", 1},
		{"app.two.test", six, "[] 0s", "[] 0s", 3},
		{"app.two.test", four, "[10.0.0.1] 1m0s", "[] 0s", 1},
		{"DB.internal.", both, "[10.0.0.7] 0s", "[2001:db8::7] 0s", 0},
		{"db2", four, "[10.0.0.7] 0s", "[] 0s", 0},
		{"10.0.0.9", both, "[10.0.0.9] 0s", "[] 0s", 0},
		{"::ffff:10.0.0.9", six, "[] 0s", "[] 0s", 0},
		{"localhost", four, "[127.0.0.1] 0s", "[] 0s", 0},
		{"x.localhost", both, "[127.0.0.1] 0s", "[::1] 0s", 0},
	} {
		got := c.Addresses(context.Background(), test.host, test.want, []string{s.address})
		asked := s.take()
		if show(got[V4]) != test.four || show(got[V6]) != test.six || len(asked) != test.questions {
			t.Errorf("%s: got %s and %s after %v, want %s and %s after %d questions", test.host, show(got[V4]), show(got[V6]), asked, test.four, test.six, test.questions)
		}
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if c := readResolvConf(path); strings.Join(c.servers, " ") != "127.0.0.1:53 [::1]:53" || c.ndots != 1 || c.attempts != 2 || c.timeout != 5*time.Second {
		t.Errorf("without a file: got %+v", c)
	}
	text := "; a comment\nnameserver 10.0.0.1\nnameserver 2001:db8::1\nnameserver x\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n" +
		"domain old.test\nsearch a b c d e f g\noptions ndots:99 timeout:0 attempts:99 rotate edns0 timeout:x\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := readResolvConf(path)
	if strings.Join(c.servers, " ") != "10.0.0.1:53 [2001:db8::1]:53 10.0.0.3:53" || len(c.search) != 6 ||
		c.ndots != 15 || c.attempts != 5 || c.timeout != time.Second {
		t.Errorf("got %+v", c)
	}
}
