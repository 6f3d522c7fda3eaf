// Package explain says why a request goes where it goes: which listener and filter chain take it, which rule matches
// and where that is written, which services get which share, and why the rules asked before did not match.
//
// In: what compile made, a request, and the proxy's own matcher behind an interface. Out: a Result, as text or JSON, and
// the problems of Test documents. It must not know how a route table is matched, nor xDS: the planes do not import each
// other, so the matcher is passed in.
package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Request is a request as a client would send it.
type Request struct {
	// Fleet limits the answer to one fleet; empty is any.
	Fleet string
	// Method is as written; empty is GET.
	Method string
	// URL is absolute: http, https, or tcp for a TCP listener. Its port chooses the listener; without a port any listener
	// of the scheme may answer, since a port may be mapped in front of it.
	URL string
	// Header are the headers, in order. A Host replaces the URL's host, which still is the TLS server name.
	Header []Header
	// Source is the client's IP address; the zero value is 127.0.0.1.
	Source netip.Addr
}

// Header is one header line.
type Header struct{ Name, Value string }

// Matcher asks the matcher that the proxies run.
type Matcher interface {
	// Match asks one route table of a fleet. The verdict is about the request alone; an error is a fault of ours.
	Match(fleet *ir.Fleet, table string, q Question) (*Verdict, error)
}

// Question is a request's head, as the matcher of a route table sees it.
type Question struct {
	Scheme, Method, Authority string
	// Path is with the query, as the client sent it.
	Path   string
	Header []Header
	// Source is the client's address.
	Source netip.Addr
}

// Verdict is what the matcher says.
type Verdict struct {
	// BadPath: the path cannot be normalized, and is answered with 400 before any rule is asked.
	BadPath bool
	// Path is the path after normalization, as rules see it and as it is forwarded.
	Path string
	// Host is the virtual host that answers; empty if none fits.
	Host string
	// Rule is the identity of the rule that matched; empty if none did.
	Rule string
	// Skipped are the rules that were asked before, in order.
	Skipped []Skipped
	// Exactly one of these is set, if a rule matched.
	Backends []ir.Backend
	Redirect *Redirect
	Answer   *Answer
	// Timeout is the request's, as people write it; empty is none. Retries is how often it is sent again, and for what.
	Timeout, Retries string
	// Rewritten is the host and path that the backends see, if not those of the request.
	Rewritten string
	// Copies are where copies of the request may go too.
	Copies []Copy
}

// Copy is a Service that gets copies of a share of the requests.
type Copy struct {
	Service string `json:"service"`
	// Percent is the share, above 0.
	Percent float64 `json:"percent"`
}

// Redirect is an answer with a Location.
type Redirect struct {
	Status   int    `json:"status"`
	Location string `json:"location"`
}

// Answer is an answer of the proxy itself.
type Answer struct {
	Status int    `json:"status"`
	Reason string `json:"reason"`
}

// Skipped is a rule that was asked and did not match.
type Skipped struct {
	Rule string `json:"rule"`
	// At is file:line:col; empty for what is built in.
	At     string `json:"at,omitempty"`
	Reason string `json:"reason"`
}

// Result is the whole explanation.
type Result struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Fleet  string `json:"fleet"`
	// Path is there if normalization changed the path.
	Path     string   `json:"path,omitempty"`
	Listener Listener `json:"listener"`
	Host     string   `json:"host,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	RuleAt   string   `json:"ruleAt,omitempty"`
	// Exactly one of these is set.
	Services []Service `json:"services,omitempty"`
	Redirect *Redirect `json:"redirect,omitempty"`
	Answer   *Answer   `json:"answer,omitempty"`

	Timeout string `json:"timeout,omitempty"`
	Retries string `json:"retries,omitempty"`
	// Rewritten is the host and path that the services see, if not those of the request.
	Rewritten string    `json:"rewritten,omitempty"`
	Copies    []Copy    `json:"copies,omitempty"`
	Skipped   []Skipped `json:"skipped,omitempty"`
	Notes     []string  `json:"notes,omitempty"`
}

// Listener is what takes the connection.
type Listener struct {
	// Socket is the address and port.
	Socket string `json:"socket"`
	// Chain is the filter chain, "gateway/listener" or "gateway/listener/certificate".
	Chain string `json:"chain,omitempty"`
	// Certificate is what is presented.
	Certificate string `json:"certificate,omitempty"`
	At          string `json:"at,omitempty"`
}

// Service is a service that gets a share.
type Service struct {
	Name    string  `json:"name"`
	At      string  `json:"at,omitempty"`
	Weight  uint32  `json:"weight"`
	Percent float64 `json:"percent"`
	// Endpoints are the addresses that new requests go to; none answers 503. Draining are those that get nothing new.
	Endpoints []string `json:"endpoints"`
	Draining  []string `json:"draining,omitempty"`
}

// Explain says where a request goes. An error is a fault of the request as it was asked: a URL that is none, a fleet
// that does not exist, a port that nobody listens on.
func Explain(out *compile.Output, m Matcher, req Request) (*Result, error) {
	target, err := parse(req)
	if err != nil {
		return nil, err
	}
	candidates, note, err := find(out, req.Fleet, target)
	if err != nil {
		return nil, err
	}
	e := &explainer{out: out, matcher: m, request: req, target: target}
	var best *Result
	bestRank := 0
	var others []string
	for _, c := range candidates {
		r, rank, err := e.explain(c)
		if err != nil {
			return nil, err
		}
		if rank > bestRank {
			if best != nil {
				others = append(others, describe(best))
			}
			best, bestRank = r, rank
		} else {
			others = append(others, describe(r))
		}
	}
	if note != "" {
		best.Notes = append(best.Notes, note)
	}
	if len(others) > 0 {
		slices.Sort(others)
		best.Notes = append(best.Notes, "it may reach these too, which are not explained here: "+strings.Join(others, "; "))
	}
	return best, nil
}

func describe(r *Result) string {
	return fmt.Sprintf("fleet %s, %s on %s", r.Fleet, cmp.Or(r.Listener.Chain, "no filter chain"), r.Listener.Socket)
}

// target is a request's URL, taken apart.
type target struct {
	url *url.URL
	// scheme is http, https or tcp; port is 0 if the URL has none.
	scheme string
	port   uint16
	// serverName is the TLS server name; empty for an address.
	serverName string
	authority  string
	header     []Header
}

func parse(req Request) (*target, error) {
	u, err := url.Parse(req.URL)
	if err != nil {
		return nil, err
	}
	t := &target{url: u, scheme: u.Scheme, authority: u.Host}
	if u.Host == "" || !slices.Contains([]string{"http", "https", "tcp"}, u.Scheme) {
		return nil, fmt.Errorf("URL: got %q, want an absolute one such as https://shop.example.com/api", req.URL)
	}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("URL: got port %s, want 1 to 65535", text)
		}
		t.port = uint16(n)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		t.serverName = strings.ToLower(u.Hostname())
	}
	for _, h := range req.Header {
		if strings.EqualFold(h.Name, "host") {
			t.authority = h.Value
			continue
		}
		t.header = append(t.header, h)
	}
	return t, nil
}

// explainer explains one request on one candidate after another.
type explainer struct {
	out     *compile.Output
	matcher Matcher
	request Request
	target  *target
}

// Ranks say how well a candidate takes the request: the best one is explained.
const (
	rankRefused = 1 + iota
	rankNoHost
	rankNoRule
	rankRedirectsAll
	rankRule
)

func (e *explainer) explain(c candidate) (*Result, int, error) {
	r := &Result{
		Method: cmp.Or(e.request.Method, "GET"), URL: e.request.URL, Fleet: c.fleet.Name,
		Listener: Listener{Socket: c.listener.Name},
	}
	chain := choose(c.listener, e.target.serverName)
	if chain == nil {
		why := "no certificate covers %q, and strictSNI is set"
		if slices.ContainsFunc(c.listener.Chains, func(c ir.FilterChain) bool { return c.TCP != nil }) {
			why = "no listener of this socket takes the server name %q"
		}
		r.Answer = &Answer{Reason: "the TLS handshake is refused: " + fmt.Sprintf(why, e.target.serverName)}
		return r, rankRefused, nil
	}
	gateway, listener, _ := strings.Cut(chain.Name, "/")
	listener, _, _ = strings.Cut(listener, "/")
	r.Listener.Chain, r.Listener.Certificate = chain.Name, chain.Certificate
	r.Listener.At = e.at("Gateway/" + gateway + "/" + listener)
	if chain.TCP != nil {
		r.Services = e.services(c.fleet, chain.TCP.Backends)
		return r, rankRule, nil
	}
	v, err := e.matcher.Match(c.fleet, chain.HTTP.RouteTable, Question{
		Scheme: e.target.scheme, Method: r.Method, Authority: e.target.authority,
		Path: e.target.url.RequestURI(), Header: e.target.header,
		Source: cmp.Or(e.request.Source, netip.AddrFrom4([4]byte{127, 0, 0, 1})),
	})
	if err != nil {
		return nil, 0, err
	}
	if v.Path != e.target.url.RequestURI() {
		r.Path = v.Path
	}
	r.Host, r.Rule, r.RuleAt, r.Timeout, r.Retries, r.Rewritten = v.Host, v.Rule, e.at(v.Rule), v.Timeout, v.Retries, v.Rewritten
	r.Copies = v.Copies
	for _, s := range v.Skipped {
		s.At = e.at(s.Rule)
		r.Skipped = append(r.Skipped, s)
	}
	r.Redirect, r.Answer = v.Redirect, v.Answer
	switch {
	case v.BadPath:
		r.Answer = &Answer{Status: 400, Reason: "the path cannot be normalized"}
		return r, rankNoRule, nil
	case v.Host == "":
		r.Answer = &Answer{Status: 404, Reason: fmt.Sprintf("no Route on %s has the host %s", chain.HTTP.RouteTable, e.target.authority)}
		return r, rankNoHost, nil
	case v.Rule == "":
		r.Answer = &Answer{Status: 404, Reason: fmt.Sprintf("no rule of the host %s matches, and less specific hosts are not asked", v.Host)}
		return r, rankNoRule, nil
	case v.Backends != nil:
		r.Services = e.services(c.fleet, v.Backends)
	case strings.HasPrefix(v.Rule, "Gateway/"):
		return r, rankRedirectsAll, nil
	}
	return r, rankRule, nil
}

func (e *explainer) services(fleet *ir.Fleet, backends []ir.Backend) []Service {
	sum := 0.0
	for _, b := range backends {
		sum += float64(b.Weight)
	}
	var services []Service
	for _, b := range backends {
		s := Service{Name: b.Cluster, At: e.at("Service/" + b.Cluster), Weight: b.Weight, Endpoints: []string{}}
		if sum > 0 {
			s.Percent = 100 * float64(b.Weight) / sum
		}
		for i := range fleet.Clusters {
			if fleet.Clusters[i].Name != b.Cluster {
				continue
			}
			for _, ep := range fleet.Clusters[i].Endpoints {
				if ep.Drain {
					s.Draining = append(s.Draining, ep.Address.String())
				} else {
					s.Endpoints = append(s.Endpoints, ep.Address.String())
				}
			}
		}
		services = append(services, s)
	}
	return services
}

// at is where an identity is written. A rule's identity that is not known by itself is looked for by its document.
func (e *explainer) at(id string) string {
	if id == "" {
		return ""
	}
	if p, ok := e.out.Origins()[id]; ok {
		return position(p)
	}
	document, _, _ := strings.Cut(id, "#")
	return position(e.out.Origins()[document])
}

func position(p definition.Position) string {
	if p.File == "" {
		return ""
	}
	return p.String()
}
