package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The client asks recursive resolvers, over UDP with EDNS0, and over TCP what does not fit (RFC 1035, 7766, 6891).

// udpSize is what is taken over UDP, in bytes: it fits any path (DNS flag day 2020).
const udpSize = 1232

// query asks one server after the other for one type, as often as there are attempts, until one answers. A server that
// fails says nothing about the name; one that says that there is no such name, or nothing of that type, does.
func (c *resolvConf) query(ctx context.Context, name string, t dnsmessage.Type) answer {
	var a answer
	for range c.attempts {
		for _, server := range c.servers {
			if a = exchange(ctx, server, name, t, c.timeout); a.err == nil || ctx.Err() != nil {
				return a
			}
		}
	}
	if a.err == nil {
		a.err = errors.New("no resolver is named")
	}
	return a
}

// exchange asks one server once.
func exchange(ctx context.Context, server, name string, t dnsmessage.Type, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query, id, question, err := newQuery(name, t)
	if err != nil {
		return answer{err: err}
	}
	for _, network := range []string{"udp", "tcp"} {
		message, err := roundTrip(ctx, network, server, query, id, question)
		if err != nil {
			return answer{err: fmt.Errorf("%s: %w", server, err)}
		}
		a, truncated := readAnswer(message, question)
		if truncated && network == "udp" {
			continue
		}
		if truncated && t == dnsmessage.TypeSRV {
			a.err = errMalformed // else it would say that there are none
		}
		if a.err != nil {
			a.err = fmt.Errorf("%s: %w", server, a.err)
		}
		return a
	}
	return answer{err: errMalformed}
}

func newQuery(name string, t dnsmessage.Type) (query []byte, id uint16, q dnsmessage.Question, err error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, 0, q, err
	}
	q = dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}
	var random [2]byte
	_, _ = rand.Read(random[:]) // never fails
	id = binary.BigEndian.Uint16(random[:])
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	var opt dnsmessage.ResourceHeader
	err = errors.Join(
		b.StartQuestions(), b.Question(q), b.StartAdditionals(),
		opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false), b.OPTResource(opt, dnsmessage.OPTResource{}),
	)
	if err != nil {
		return nil, 0, q, err
	}
	query, err = b.Finish()
	return query, id, q, err
}

// roundTrip sends a query and waits for its answer. Over UDP what is not an answer to it is passed over: the socket takes
// packets of that server alone, and whoever forges one must guess the id and the port.
func roundTrip(ctx context.Context, network, server string, query []byte, id uint16, q dnsmessage.Question) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(query)))
		if _, err := conn.Write(append(framed, query...)); err != nil {
			return nil, err
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		answer := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, answer); err != nil {
			return nil, err
		}
		if !answers(answer, id, q) {
			return nil, errMalformed
		}
		return answer, nil
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	for buf := make([]byte, udpSize); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], id, q) {
			return buf[:n], nil
		}
	}
}

// answers tells whether a message is the answer to a question.
func answers(message []byte, id uint16, q dnsmessage.Question) bool {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || !h.Response || h.ID != id {
		return false
	}
	got, err := p.Question()
	return err == nil && got.Type == q.Type && got.Class == q.Class && lower(got.Name) == lower(q.Name)
}
