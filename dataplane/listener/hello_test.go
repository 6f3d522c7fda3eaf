package listener

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// record is a ClientHello as Go's client sends it.
func record(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		_ = tls.Client(near, cfg).Handshake()
		near.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// cut spreads a record's content over records of n bytes.
func cut(rec []byte, n int) []byte {
	var out []byte
	for body := rec[5:]; len(body) > 0; {
		piece := body[:min(n, len(body))]
		body = body[len(piece):]
		out = append(out, 22, 3, 1, byte(len(piece)>>8), byte(len(piece)))
		out = append(out, piece...)
	}
	return out
}

// hello builds a ClientHello around extensions.
func hello(extensions string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00"
	body += string(binary.BigEndian.AppendUint16(nil, uint16(len(extensions)))) + extensions
	message := "\x01\x00" + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
	return append([]byte("\x16\x03\x01"+string(binary.BigEndian.AppendUint16(nil, uint16(len(message))))), message...)
}

func TestParseHello(t *testing.T) {
	full := record(t, &tls.Config{ServerName: "Shop.Test", NextProtos: []string{"h2", "http/1.1"}})
	want := Hello{TLS: true, ServerName: "shop.test", ALPN: []string{"h2", "http/1.1"}}
	for _, test := range []struct {
		name string
		in   []byte
		want Hello
		err  string
	}{
		{"go's client", full, want, ""},
		{"more after it", append(append([]byte{}, full...), "early data"...), want, ""},
		{"cut in records", cut(full, 100), want, ""},
		{"cut in bytes", cut(full, 1), want, ""},
		{"no name", record(t, &tls.Config{InsecureSkipVerify: true}), Hello{TLS: true}, ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), Hello{}, ""},
		{"own", hello("\x00\x00\x00\x06\x00\x04\x00\x00\x01a"), Hello{TLS: true, ServerName: "a"}, ""},
		{"unknown name type", hello("\x00\x00\x00\x06\x00\x04\x07\x00\x01a"), Hello{TLS: true}, ""},
		{"final dot", hello("\x00\x00\x00\x07\x00\x05\x00\x00\x02a."), Hello{}, `server name "a."`},
		{"NUL in name", hello("\x00\x00\x00\x07\x00\x05\x00\x00\x02a\x00"), Hello{}, "server name"},
		{"two names", hello("\x00\x00\x00\x0a\x00\x08\x00\x00\x01a\x00\x00\x01b"), Hello{}, "two server names"},
		{"empty name list", hello("\x00\x00\x00\x02\x00\x00"), Hello{}, "malformed server_name"},
		{"long name list", hello("\x00\x00\x00\x06\x00\x09\x00\x00\x01a"), Hello{}, "malformed server_name"},
		{"extension twice", hello("\x00\x17\x00\x00\x00\x17\x00\x00"), Hello{}, "extension 23 twice"},
		{"empty protocol", hello("\x00\x10\x00\x03\x00\x01\x00"), Hello{}, "malformed application_layer"},
		{"extension too long", hello("\x00\x10\x00\x09\x00"), Hello{}, "malformed extension"},
		{"server hello", []byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), Hello{}, "handshake message 2"},
		{"alert", []byte("\x15\x03\x01\x00\x02\x02\x00"), Hello{}, ""},
		{"SSL 2", []byte("\x16\x02\x00"), Hello{}, "not a TLS handshake record"},
		{"empty record", []byte("\x16\x03\x01\x00\x00"), Hello{}, "record of 0 bytes"},
		{"huge record", []byte("\x16\x03\x01\x40\x01"), Hello{}, "record of 16385 bytes"},
		{"huge hello", []byte("\x16\x03\x01\x00\x04\x01\x01\x00\x00"), Hello{}, "65536 bytes, at most 32768"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, done, err := ParseHello(test.in)
			if !done {
				t.Fatal("not done")
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func FuzzClientHello(f *testing.F) {
	full := record(f, &tls.Config{ServerName: "shop.test", NextProtos: []string{"h2"}})
	f.Add(full, 10)
	f.Add(cut(full, 7), 100)
	f.Add(hello("\x00\x00\x00\x06\x00\x04\x00\x00\x01a"), 20)
	f.Add([]byte("GET /"), 1)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		whole, done, err := ParseHello(b)
		if len(b) >= MaxHello && !done {
			t.Fatal("asks for more than MaxHello")
		}
		if at < 0 || at > len(b) {
			return
		}
		// A part either asks for more, or says what the whole does.
		part, partDone, partErr := ParseHello(b[:at])
		if partDone && at < MaxHello && (!done || fmt.Sprint(partErr) != fmt.Sprint(err) || !reflect.DeepEqual(part, whole)) {
			t.Fatalf("first %d bytes: %+v %v; whole: %+v %v", at, part, partErr, whole, err)
		}
		// What will terminate the connection must read the same name in it.
		if theirs := hellos(b); done && err == nil && whole.TLS && theirs != nil {
			if !strings.EqualFold(theirs.ServerName, whole.ServerName) || !slices.Equal(theirs.SupportedProtos, whole.ALPN) {
				t.Fatalf("%x\ngot  %+v\nwant %q %q", b, whole, theirs.ServerName, theirs.SupportedProtos)
			}
		}
	})
}

// replay is a connection whose other side has said all it will.
type replay struct {
	net.Conn
	in io.Reader
}

func (r *replay) Read(p []byte) (int, error)  { return r.in.Read(p) }
func (r *replay) Write(p []byte) (int, error) { return len(p), nil }

// hellos is what crypto/tls makes of a ClientHello; nil if it refuses it.
func hellos(b []byte) (info *tls.ClientHelloInfo) {
	_ = tls.Server(&replay{in: bytes.NewReader(b)}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, io.EOF
	}}).Handshake()
	return info
}

func TestPeekHello(t *testing.T) {
	full := record(t, &tls.Config{ServerName: "shop.test"})
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		for _, b := range full {
			_, _ = near.Write([]byte{b})
		}
		_, _ = near.Write([]byte("more"))
	}()
	hello, conn, err := PeekHello(far, time.Now().Add(5*time.Second))
	if err != nil || hello.ServerName != "shop.test" {
		t.Fatal(hello, err)
	}
	again := make([]byte, len(full)+4)
	if _, err := io.ReadFull(conn, again); err != nil || string(again) != string(full)+"more" {
		t.Fatal(err)
	}
}

func TestPeekTimesOut(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	if _, _, err := PeekHello(far, time.Now().Add(10*time.Millisecond)); err == nil {
		t.Fatal("no error")
	}
}

func TestPeekPrefix(t *testing.T) {
	for in, want := range map[string]bool{"PRI * HTTP/2.0": true, "PRI /": false, "PRI * HTTP/2.0\r\n\r\nSM": true, "GET": false} {
		near, far := net.Pipe()
		go func() { _, _ = near.Write([]byte(in)) }()
		got, conn, err := PeekPrefix(far, time.Now().Add(5*time.Second), "PRI * HTTP/2.0")
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
		ahead, below := conn.Detach()
		if string(ahead) != in || below != far {
			t.Errorf("%q: %q was read ahead", in, ahead)
		}
		near.Close()
	}
}
