// Package matcher lets the control plane ask the proxy's own matcher: translate makes Envoy's words of a fleet, decode
// makes the proxy's nouns of those, and route answers as it would on the wire. It joins the planes, which only cmd may.
//
// In: a fleet and a request's head. Out: a verdict for package explain. It must not know what the answer is for.
package matcher

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/controlplane/explain"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/decode"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Matcher is an explain.Matcher. It keeps what it made of the fleets that it was asked about: make one for each
// compile.Output.
type Matcher struct {
	mu     sync.Mutex
	fleets map[*ir.Fleet]*tables // guarded by mu
}

// New is a Matcher that has seen no fleet yet.
func New() *Matcher { return &Matcher{fleets: map[*ir.Fleet]*tables{}} }

// tables are a fleet's route tables, and how paths are read in front of each.
type tables struct {
	tables map[string]*route.Table
	http   map[string]*config.HTTP
}

// Match asks a route table of a fleet.
func (m *Matcher) Match(fleet *ir.Fleet, table string, q explain.Question) (*explain.Verdict, error) {
	t, err := m.of(fleet)
	if err != nil {
		return nil, err
	}
	routes, http := t.tables[table], t.http[table]
	if routes == nil || http == nil {
		return nil, fmt.Errorf("matcher: fleet %q: no route table %q", fleet.Name, table)
	}
	req := &message.Request{
		Proto: message.HTTP11, Method: q.Method, Scheme: q.Scheme, Authority: q.Authority, Path: q.Path,
	}
	for _, h := range q.Header {
		req.Header.Add(h.Name, h.Value)
	}
	v := &explain.Verdict{Path: q.Path}
	if http.NormalizePath {
		path, ok := route.NormalizePath(q.Path, http.MergeSlashes)
		if !ok {
			v.BadPath = true
			return v, nil
		}
		v.Path, req.Path = path, path
	}
	given := route.Given{Random: noShare}
	if http.MatchSource {
		given.Source = q.Source
	}
	e := routes.Explain(req, given)
	v.Host = strings.TrimPrefix(e.Host, table+"/")
	for _, s := range e.Steps {
		// A rule may be several routes, and one of them may have matched.
		skipped := explain.Skipped{Rule: s.Route.Name, Reason: s.Reason}
		if s.Reason != "" && (len(v.Skipped) == 0 || v.Skipped[len(v.Skipped)-1] != skipped) && (e.Route == nil || e.Route.Name != s.Route.Name) {
			v.Skipped = append(v.Skipped, skipped)
		}
	}
	if e.Route != nil {
		fill(v, e.Route, req)
	}
	return v, nil
}

// noShare is the draw of a request that is in no rule's fraction, whatever the denominator, but for one of all: an
// explanation is of what is left.
const noShare = 999_999

// fill says what a route does with a request.
func fill(v *explain.Verdict, r *config.Route, req *message.Request) {
	v.Rule = r.Name
	switch {
	case r.Redirect != nil:
		v.Redirect = &explain.Redirect{Status: r.Redirect.Status, Location: route.Location(r, req)}
	case r.Respond != nil:
		v.Answer = &explain.Answer{Status: r.Respond.Status, Reason: strings.TrimSpace(r.Respond.Body)}
	default:
		for _, c := range r.Clusters {
			v.Backends = append(v.Backends, ir.Backend{Cluster: c.Name, Weight: c.Weight})
		}
		if r.Timeout > 0 {
			v.Timeout = short(r.Timeout)
		}
		if r.Retry != nil {
			v.Retries = fmt.Sprintf("up to %d, on %s", r.Retry.Attempts, conditions(r.Retry))
		}
		for _, m := range r.Mirrors {
			share := 100.0
			if m.Fraction != nil {
				share = 100 * float64(m.Fraction.Numerator) / float64(m.Fraction.Denominator)
			}
			if share > 0 {
				v.Copies = append(v.Copies, explain.Copy{Service: m.Cluster, Percent: share})
			}
		}
		if r.Rewrite != nil {
			if seen := *req; route.Rewrite(r, &seen) {
				v.Rewritten = seen.Authority + seen.Path
			} else {
				v.Rewritten = fmt.Sprintf("%q, which is no path: answered 400", seen.Path)
			}
		}
	}
}

// conditions are what counts as a failure, in words.
func conditions(r *config.Retry) string {
	var words []string
	for word := range strings.SplitSeq(r.On.String(), ",") {
		if word != "retriable-status-codes" {
			words = append(words, word)
			continue
		}
		for _, code := range r.StatusCodes {
			words = append(words, fmt.Sprint(code))
		}
	}
	return strings.Join(words, ", ")
}

// short is a duration as people write it: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (m *Matcher) of(fleet *ir.Fleet) (*tables, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.fleets[fleet]; t != nil {
		return t, nil
	}
	resources, err := translate.Fleet(fleet)
	if err != nil {
		return nil, err
	}
	t := &tables{tables: map[string]*route.Table{}, http: map[string]*config.HTTP{}}
	hosts, err := hostsByTable(resources[resource.VirtualHostType])
	if err != nil {
		return nil, err
	}
	for name, message := range resources[resource.RouteType] {
		packed, err := anypb.New(message)
		if err != nil {
			return nil, err
		}
		table, err := decode.RouteTable(packed)
		if err != nil {
			return nil, err
		}
		t.tables[name] = route.New(table.With(hosts[name]))
	}
	for _, message := range resources[resource.ListenerType] {
		packed, err := anypb.New(message)
		if err != nil {
			return nil, err
		}
		l, err := decode.Listener(packed)
		if err != nil {
			return nil, err
		}
		for _, c := range append(l.Chains[:len(l.Chains):len(l.Chains)], l.Default) {
			if c != nil && c.HTTP != nil {
				t.http[c.HTTP.RouteTableName] = c.HTTP
			}
		}
	}
	m.fleets[fleet] = t
	return t, nil
}

// hostsByTable are the virtual hosts that come apart from their tables.
func hostsByTable(messages map[string]proto.Message) (map[string][]*config.VirtualHost, error) {
	hosts := map[string][]*config.VirtualHost{}
	for name, message := range messages {
		packed, err := anypb.New(message)
		if err != nil {
			return nil, err
		}
		host, err := decode.VirtualHost(packed)
		if err != nil {
			return nil, err
		}
		table := resource.TableOf(name)
		hosts[table] = append(hosts[table], host)
	}
	return hosts, nil
}
