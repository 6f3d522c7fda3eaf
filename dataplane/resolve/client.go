package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The client asks recursive resolvers, over UDP with EDNS0, and over TCP what does not fit (RFC 1035, 7766, 6891).

// client looks names up once. Read-only.
type client struct{ resolvConf, hosts string }

var (
	errNoAddresses = errors.New("the name has no addresses")
	errMalformed   = errors.New("malformed answer")
)

const (
	// maxAddresses are taken of one answer.
	maxAddresses = 1000
	// maxAliases is how many CNAMEs are followed in one answer.
	maxAliases = 16
	// udpSize is what is taken over UDP, in bytes: it fits any path (DNS flag day 2020).
	udpSize = 1232
	// maxTTL is a day: a slip in a zone must not stay for longer.
	maxTTL = 24 * time.Hour
)

// ask looks up the families that a question wants, both at once.
func (c *client) ask(ctx context.Context, q question) (out [families]reply) {
	want := q.wants()
	if replies, ok := c.known(&q, want); ok {
		return replies
	}
	conf := readResolvConf(c.resolvConf)
	if q.resolvers != "" {
		conf.servers = strings.Fields(q.resolvers)
	}
	names := conf.names(q.host)
	var wg sync.WaitGroup
	types := [families]dnsmessage.Type{v4: dnsmessage.TypeA, v6: dnsmessage.TypeAAAA}
	for _, name := range names {
		var found [families]reply
		for i, t := range types {
			if want[i] {
				wg.Go(func() { found[i] = conf.query(ctx, name, t) })
			}
		}
		wg.Wait()
		for i := range found {
			if len(found[i].addresses) > 0 {
				return found
			}
			if found[i].err != nil && out[i].err == nil {
				out[i].err = found[i].err
			}
		}
	}
	return out
}

// known are the addresses that need no asking: of an address, of localhost (RFC 6761, 6.3), and of what stands in hosts.
func (c *client) known(q *question, want [families]bool) (out [families]reply, ok bool) {
	add := func(ip netip.Addr, fixed bool) {
		i := v4
		if ip = ip.Unmap(); ip.Is6() {
			i = v6
		}
		if want[i] {
			out[i].addresses = append(out[i].addresses, ip.WithZone(""))
			out[i].fixed, ok = fixed, true
		}
	}
	if ip, err := netip.ParseAddr(q.host); err == nil {
		add(ip, true)
		return out, true
	}
	name := strings.ToLower(strings.TrimSuffix(q.host, "."))
	for _, ip := range readHosts(c.hosts, name) {
		add(ip, false)
	}
	if !ok && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
		add(netip.AddrFrom4([4]byte{127, 0, 0, 1}), true)
		add(netip.IPv6Loopback(), true)
	}
	return out, ok
}

// query asks one server after the other for one type, as often as there are attempts, until one answers. A server that
// fails says nothing about the name; one that says that there is no such name, or nothing of that type, does.
func (c *resolvConf) query(ctx context.Context, name string, t dnsmessage.Type) reply {
	var r reply
	for range c.attempts {
		for _, server := range c.servers {
			if r = exchange(ctx, server, name, t, c.timeout); r.err == nil || ctx.Err() != nil {
				return r
			}
		}
	}
	if r.err == nil {
		r.err = errors.New("no resolver is named")
	}
	return r
}

// exchange asks one server once.
func exchange(ctx context.Context, server, name string, t dnsmessage.Type, timeout time.Duration) reply {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query, id, question, err := newQuery(name, t)
	if err != nil {
		return reply{err: err}
	}
	for _, network := range []string{"udp", "tcp"} {
		answer, err := roundTrip(ctx, network, server, query, id, question)
		if err != nil {
			return reply{err: fmt.Errorf("%s: %w", server, err)}
		}
		r, truncated := read(answer, question)
		if truncated && network == "udp" {
			continue
		}
		if r.err != nil {
			r.err = fmt.Errorf("%s: %w", server, r.err)
		}
		return r
	}
	return reply{err: errMalformed}
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
	return err == nil && got.Type == q.Type && got.Class == q.Class && strings.EqualFold(got.Name.String(), q.Name.String())
}

// read takes the addresses out of an answer to q.
func read(message []byte, q dnsmessage.Question) (r reply, truncated bool) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err == nil {
		err = p.SkipAllQuestions()
	}
	switch {
	case err != nil:
		return reply{err: errMalformed}, false
	case h.Truncated:
		return reply{}, true
	case h.RCode == dnsmessage.RCodeNameError:
		return reply{}, false
	case h.RCode != dnsmessage.RCodeSuccess:
		return reply{err: fmt.Errorf("the resolver answers %s", strings.TrimPrefix(h.RCode.String(), "RCode"))}, false
	}
	type record struct {
		owner string
		ttl   uint32
		ip    netip.Addr
		alias string
	}
	var records []record
	for len(records) < maxAddresses {
		header, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return reply{err: errMalformed}, false
		}
		one := record{owner: strings.ToLower(header.Name.String()), ttl: header.TTL}
		switch {
		case header.Class == dnsmessage.ClassINET && header.Type == dnsmessage.TypeCNAME:
			body, bad := p.CNAMEResource()
			one.alias, err = strings.ToLower(body.CNAME.String()), bad
		case header.Class == dnsmessage.ClassINET && header.Type == dnsmessage.TypeA && q.Type == header.Type:
			body, bad := p.AResource()
			one.ip, err = netip.AddrFrom4(body.A), bad
		case header.Class == dnsmessage.ClassINET && header.Type == dnsmessage.TypeAAAA && q.Type == header.Type:
			body, bad := p.AAAAResource()
			one.ip, err = netip.AddrFrom16(body.AAAA), bad
		default:
			if p.SkipAnswer() != nil {
				return reply{err: errMalformed}, false
			}
			continue
		}
		if err != nil {
			return reply{err: errMalformed}, false
		}
		records = append(records, one)
	}
	// Only what the name, or an alias of it, owns is an answer (RFC 1034, 3.6.2).
	owner, least := strings.ToLower(q.Name.String()), uint32(1<<31)
	for range maxAliases {
		next := ""
		for _, one := range records {
			if one.owner == owner && one.alias != "" {
				next, least = one.alias, min(least, one.ttl)
				break
			}
		}
		if next == "" {
			break
		}
		owner = next
	}
	for _, one := range records {
		if one.owner == owner && one.ip.IsValid() {
			r.addresses = append(r.addresses, one.ip)
			least = min(least, one.ttl)
		}
	}
	if len(r.addresses) > 0 {
		r.ttl = min(time.Duration(least)*time.Second, maxTTL)
	}
	return r, false
}
