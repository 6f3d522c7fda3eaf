package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
)

type fieldList [][2]string

// plainFields is a GET of http://a.test/ with fields set, or added.
func plainFields(set ...string) fieldList {
	fields := fieldList{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}}
	for i := 0; i < len(set); i += 2 {
		at := slices.IndexFunc(fields, func(f [2]string) bool { return f[0] == set[i] })
		if at >= 0 && strings.HasPrefix(set[i], ":") {
			fields[at][1] = set[i+1]
		} else {
			fields = append(fields, [2]string{set[i], set[i+1]})
		}
	}
	return fields
}

// exchangeHTTP2 sends a request as raw frames, and returns its status; 0 if the stream or the connection was ended. A nil
// data is END_STREAM with the fields; else each is a DATA frame, and trailers may come after them.
func exchangeHTTP2(t *testing.T, address string, fields fieldList, data []string, trailers fieldList) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, xhttp2.ClientPreface)
	framer := xhttp2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	headers := func(list fieldList, end bool) {
		block.Reset()
		for _, f := range list {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
	}
	headers(fields, data == nil)
	for i, d := range data {
		_ = framer.WriteData(1, i == len(data)-1 && trailers == nil, []byte(d))
	}
	if trailers != nil {
		headers(trailers, true)
	}
	status := 0
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("no answer")
			}
			return status
		}
		switch f := frame.(type) {
		case *xhttp2.MetaHeadersFrame:
			if s := f.PseudoValue("status"); s != "" && s[0] != '1' {
				_, _ = fmt.Sscan(s, &status)
			}
			if f.StreamEnded() {
				return status
			}
		case *xhttp2.DataFrame:
			if f.StreamEnded() {
				return status
			}
		case *xhttp2.RSTStreamFrame:
			if f.ErrCode == xhttp2.ErrCodeNo {
				return status // it has its answer, and need not send the rest
			}
			return 0
		case *xhttp2.GoAwayFrame:
			if f.ErrCode != xhttp2.ErrCodeNo {
				return 0
			}
		}
	}
}

// refused: no answer of the origin comes, and it sees no whole request.
const refused = "refused"

// TestNothingSmuggled sends HTTP/2 that would mean something else in HTTP/1.1 (RFC 9113, 8.2, 8.3 and 10.3): it is refused, or
// means to the origin what it meant in HTTP/2.
func TestNothingSmuggled(t *testing.T) {
	proxy := corpusProxy(t)
	const next = " HTTP/1.1\r\nHost: b.test\r\n\r\nGET /x"
	for _, test := range []struct {
		name     string
		fields   fieldList
		data     []string
		trailers fieldList
		// want is what the origin sees, or refused; alternatives are parted by " | ".
		want string
	}{
		{"plain", plainFields(), nil, nil, "GET a.test /"},
		{"fields", plainFields("x-a", "1", "x-b", "\xe9"), nil, nil, `GET a.test / x-a=1 x-b="\xe9"`},
		{"host for authority", fieldList{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "a.test"}}, nil, nil, "GET a.test /"},
		{"host and authority", plainFields("host", "a.test"), nil, nil, "GET a.test /"},
		{"te trailers", plainFields("te", "trailers"), nil, nil, "GET a.test / te=trailers"},
		{"cookies", plainFields("cookie", "a=1", "cookie", "b=2"), nil, nil, `GET a.test / cookie="a=1; b=2"`},
		{"underscores", plainFields("transfer_encoding", "chunked", "content_length", "3"), nil, nil, "GET a.test / transfer_encoding=chunked content_length=3 | GET a.test / content_length=3 transfer_encoding=chunked"},
		{"method in lower case", plainFields(":method", "get"), nil, nil, "get a.test /"},
		{"path marks", plainFields(":path", `/"<>|?a="b"`), nil, nil, `GET a.test /%22%3C%3E%7C?a="b"`},
		{"path dots", plainFields(":path", "/a/../b"), nil, nil, "GET a.test /b"},
		{"path with escaped line ends", plainFields(":path", "/%0d%0aX:%20y"), nil, nil, "GET a.test /%0d%0aX:%20y"},
		{"two slashes", plainFields(":path", "//b.test/"), nil, nil, "GET a.test //b.test/"},

		{"body", plainFields(":method", "POST"), []string{"abc"}, nil, "POST a.test / body=abc"},
		{"body in frames", plainFields(":method", "POST"), []string{"a", "", "bc", ""}, nil, "POST a.test / body=abc"},
		{"body with length", plainFields(":method", "POST", "content-length", "3"), []string{"ab", "c"}, nil, "POST a.test / body=abc"},
		{"no body", plainFields(":method", "POST"), nil, nil, "POST a.test /"},
		{"empty body", plainFields(":method", "POST"), []string{""}, nil, "POST a.test /"},
		{"body of GET", plainFields(), []string{"abc"}, nil, "GET a.test / body=abc"},
		{"body that ends chunks", plainFields(":method", "POST"), []string{"0\r\n\r\nGET /x HTTP/1.1\r\nHost: b.test\r\n\r\n"}, nil,
			`POST a.test / body="0\r\n\r\nGET /x HTTP/1.1\r\nHost: b.test\r\n\r\n"`},
		{"body of GET that is a request", plainFields(), []string{"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n"}, nil,
			`GET a.test / body="GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n"`},
		{"expect", plainFields(":method", "POST", "expect", "100-continue"), []string{"abc"}, nil, "POST a.test / body=abc"},
		{"expect more", plainFields(":method", "POST", "expect", "miracles"), []string{"abc"}, nil, refused},
		{"trailers", plainFields(":method", "POST", "trailer", "x-sum"), []string{"abc"}, fieldList{{"x-sum", "7"}},
			"POST a.test / trailer=x-sum body=abc trailer=x-sum:7"},
		{"trailers not announced", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"x-sum", "7"}},
			"POST a.test / body=abc trailer=x-sum:7 | POST a.test / body=abc"},

		{"value with CR LF", plainFields("x", "a\r\nContent-Length: 3"), nil, nil, refused},
		{"value with CR", plainFields("x", "a\rb"), nil, nil, refused},
		{"value with LF", plainFields("x", "a\nTransfer-Encoding: chunked"), nil, nil, refused},
		{"value with NUL", plainFields("x", "a\x00b"), nil, nil, refused},
		{"value that is a request", plainFields("x", "y\r\n\r\nGET /x"+next), nil, nil, refused},
		{"cookie with CR LF", plainFields("cookie", "a=1\r\nx: y"), nil, nil, refused},
		{"name with CR LF", plainFields("x: y\r\nz", "1"), nil, nil, refused},
		{"name with LF", plainFields("x\ny", "1"), nil, nil, refused},
		{"name with NUL", plainFields("x\x00", "1"), nil, nil, refused},
		{"name with colon", plainFields("transfer-encoding:x", "chunked"), nil, nil, refused},
		{"name with space", plainFields("x ", "1"), nil, nil, refused},
		{"name with tab", plainFields("x\t", "1"), nil, nil, refused},
		{"name with high byte", plainFields("x\xe9", "1"), nil, nil, refused},
		{"name in upper case", plainFields("Transfer-Encoding", "chunked"), nil, nil, refused},
		{"no name", plainFields("", "1"), nil, nil, refused},
		{"unknown pseudo-field", append(fieldList{{":x", "1"}}, plainFields()...), nil, nil, refused},
		{"late pseudo-field", append(plainFields("x", "1"), [2]string{":path", "/x"}), nil, nil, refused},
		{"two paths", append(fieldList{{":path", "/x"}}, plainFields()...), nil, nil, refused},
		{"two methods", append(fieldList{{":method", "POST"}}, plainFields()...), nil, nil, refused},
		{"two authorities", append(fieldList{{":authority", "b.test"}}, plainFields()...), nil, nil, refused},

		{"path with a request", plainFields(":path", "/"+next), nil, nil, refused},
		{"path with space", plainFields(":path", "/ HTTP/1.0"), nil, nil, refused},
		{"path with tab", plainFields(":path", "/\tHTTP/1.1"), nil, nil, refused},
		{"path with CR", plainFields(":path", "/\rx"), nil, nil, refused},
		{"path with LF", plainFields(":path", "/\nx"), nil, nil, refused},
		{"path with NUL", plainFields(":path", "/\x00"), nil, nil, refused},
		{"path with DEL", plainFields(":path", "/\x7f"), nil, nil, refused},
		{"path with high byte", plainFields(":path", "/\xe9"), nil, nil, refused + " | GET a.test /%E9"},
		{"path with fragment", plainFields(":path", "/#x"), nil, nil, refused},
		{"query with space", plainFields(":path", "/?a b"), nil, nil, refused},
		{"query with CR LF", plainFields(":path", "/?a\r\nx: y"), nil, nil, refused},
		{"path without slash", plainFields(":path", "x"), nil, nil, refused},
		{"path of another host", plainFields(":path", "http://b.test/"), nil, nil, refused},
		{"path is @", plainFields(":path", "@b.test/"), nil, nil, refused},
		{"empty path", plainFields(":path", ""), nil, nil, refused},
		{"no path", fieldList{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}}, nil, nil, refused},
		{"asterisk of GET", plainFields(":path", "*"), nil, nil, refused},
		{"method with a request line", plainFields(":method", "GET /x HTTP/1.1\r\nHost: b.test\r\n\r\nGET"), nil, nil, refused},
		{"method with space", plainFields(":method", "GET /x"), nil, nil, refused},
		{"method with NUL", plainFields(":method", "GET\x00"), nil, nil, refused},
		{"empty method", plainFields(":method", ""), nil, nil, refused},
		{"CONNECT", fieldList{{":method", "CONNECT"}, {":authority", "a.test:443"}}, nil, nil, refused},
		{"CONNECT with path", plainFields(":method", "CONNECT"), nil, nil, refused},
		{"scheme with a request", plainFields(":scheme", "http://b.test/x"+next), nil, nil, refused},
		{"another scheme", plainFields(":scheme", "ftp"), nil, nil, refused},

		{"authority unlike host", plainFields("host", "b.test"), nil, nil, refused},
		{"two hosts", plainFields("host", "a.test", "host", "b.test"), nil, nil, refused},
		{"no authority", fieldList{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, nil, nil, refused},
		{"empty authority", plainFields(":authority", ""), nil, nil, refused},
		{"authority with CR LF", plainFields(":authority", "a.test\r\nx: y"), nil, nil, refused},
		{"authority with user", plainFields(":authority", "u@a.test"), nil, nil, refused},
		{"authority with path", plainFields(":authority", "a.test/x"), nil, nil, refused},
		{"authority with space", plainFields(":authority", "a.test b"), nil, nil, refused},
		{"authority with two ports", plainFields(":authority", "a.test:1:2"), nil, nil, refused},
		{"authority with high byte", plainFields(":authority", "\xe9.test"), nil, nil, refused},

		{"connection", plainFields("connection", "close"), nil, nil, refused},
		{"connection names host", plainFields("connection", "host"), nil, nil, refused},
		{"keep-alive", plainFields("keep-alive", "5"), nil, nil, refused},
		{"proxy-connection", plainFields("proxy-connection", "close"), nil, nil, refused},
		{"transfer-encoding", plainFields(":method", "POST", "transfer-encoding", "chunked"), []string{"0\r\n\r\n"}, nil, refused},
		{"transfer-encoding without body", plainFields("transfer-encoding", "chunked"), nil, nil, refused},
		{"upgrade", plainFields("upgrade", "h2c"), nil, nil, refused},
		{"te gzip", plainFields("te", "gzip"), nil, nil, refused},
		{"te list", plainFields("te", "trailers, gzip"), nil, nil, refused},

		{"length too long", plainFields(":method", "POST", "content-length", "5"), []string{"abc"}, nil, refused},
		{"length too short", plainFields(":method", "POST", "content-length", "1"), []string{"abc"}, nil, refused},
		{"length without body", plainFields(":method", "POST", "content-length", "3"), nil, nil, refused},
		{"length of GET", plainFields("content-length", "3"), nil, nil, refused},
		{"length with plus", plainFields(":method", "POST", "content-length", "+3"), []string{"abc"}, nil, refused},
		{"length in hexadecimal", plainFields(":method", "POST", "content-length", "0x3"), []string{"abc"}, nil, refused},
		{"empty length", plainFields(":method", "POST", "content-length", ""), []string{"abc"}, nil, refused},
		{"length that wraps", plainFields(":method", "POST", "content-length", "18446744073709551619"), []string{"abc"}, nil, refused},
		{"list of lengths", plainFields(":method", "POST", "content-length", "3, 3"), []string{"abc"}, nil, refused + " | POST a.test / body=abc"},
		{"lengths that differ", plainFields(":method", "POST", "content-length", "3", "content-length", "4"), []string{"abc"}, nil, refused},
		{"two lengths", plainFields(":method", "POST", "content-length", "3", "content-length", "3"), []string{"abc"}, nil, refused + " | POST a.test / body=abc"},
		{"length with CR LF", plainFields(":method", "POST", "content-length", "3\r\nx: y"), []string{"abc"}, nil, refused},
		{"length and trailers too short", plainFields(":method", "POST", "content-length", "5"), []string{"abc"}, fieldList{{"x", "y"}}, refused},

		{"trailer with CR LF", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"x", "y\r\n\r\nGET /x" + next}}, refused},
		{"trailer with colon in its name", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"x:y", "1"}}, refused},
		{"pseudo-field in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{":path", "/x"}}, refused},
		{"length in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"content-length", "9"}}, refused + " | POST a.test / body=abc"},
		{"coding in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"transfer-encoding", "chunked"}}, refused + " | POST a.test / body=abc"},
		{"host in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"host", "b.test"}}, refused + " | POST a.test / body=abc"},
		{"connection in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"connection", "close"}}, refused + " | POST a.test / body=abc"},
		{"authorization in trailers", plainFields(":method", "POST"), []string{"abc"}, fieldList{{"authorization", "x"}}, refused + " | POST a.test / body=abc"},
		// The last one: what is whole with its head may be sent on before the data comes, and arrive after this looks.
		{"length of zero", plainFields(":method", "POST", "content-length", "0"), []string{"abc"}, nil, refused + " | POST a.test /"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy.Origin.Begin(nil)
			status := exchangeHTTP2(t, proxy.Addr, test.fields, test.data, test.trailers)
			if problem := proxy.Afresh(); problem != "" {
				t.Error("the next request of another client: ", problem)
			}
			got := refused
			for _, m := range proxy.Origin.Seen() {
				m.Fields = slices.DeleteFunc(m.Fields, func(f http1test.Field) bool {
					return f.Name == "x-forwarded-for" || f.Name == "x-forwarded-proto" || f.Name == "x-request-id"
				})
				switch {
				case strings.HasSuffix(m.Head, " /afresh"):
				case m.Problem != "":
					t.Errorf("the origin saw %q", m)
				case m.Whole() && got != refused:
					t.Errorf("the origin saw %q, and %q", got, m)
				case m.Whole():
					got = m.String()
				}
			}
			alternatives := strings.Split(test.want, " | ")
			if !slices.Contains(alternatives, got) {
				t.Errorf("the origin saw %s, want %s", got, test.want)
			}
			// A request that is whole to us may be answered, or not, when more of it comes.
			if got == refused && (status == 200 || status >= 500) || got != refused && status != 200 && len(alternatives) == 1 {
				t.Errorf("status %d, and the origin saw %s", status, got)
			}
		})
	}
}

// TestCorpusAnswersHTTP2 has the upstream's answers of the corpus go to a client of HTTP/2: whole, or visibly not.
func TestCorpusAnswersHTTP2(t *testing.T) {
	proxy := corpusProxy(t)
	cases, err := http1test.Load("../http1/testdata/answers")
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, proxy.Addr, "http", "h2c")
	for _, c := range cases {
		t.Run(c.ID(), func(t *testing.T) {
			want := c.Want[len(c.Want)-1]
			if len(c.Answers) > 0 {
				want, _ = http1test.ParseMessage(c.Answers[0])
			}
			proxy.Origin.Begin(c)
			req, _ := http.NewRequest(c.Method, "http://a.test/case", nil)
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got := http1test.Message{Head: fmt.Sprint(res.StatusCode)}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil && got.Status() != 304 {
				// Go's client misses a body of the length that a 304 only tells.
				got.End = "more"
			}
			switch {
			case want.Refused() || want.Head == "more":
				if got.Status() != 502 && (want.Refused() || got.Status() != 503) {
					t.Errorf("got %q, want 502", got)
				}
			case got.Status() != want.Status() || got.Whole() != want.Whole():
				t.Errorf("got %q, want %q", got, want)
			case want.Whole() && (http1test.Message{Body: string(body)}).String() != (http1test.Message{Body: want.Body}).String():
				t.Errorf("got the body %.200q, want %q", body, want)
			}
			for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
				if v, ok := res.Header[name]; ok {
					t.Errorf("%s: %q came through", name, v)
				}
			}
			if problem := proxy.Afresh(); problem != "" {
				t.Error("the next request of another client: ", problem)
			}
		})
	}
}
