// Package compile turns definitions into what each fleet serves: references resolved, defaults filled in, conflicts
// decided.
//
// In: documents that are right by themselves, and the bytes of certificates. Out: ir.Fleets, and problems that belong to
// documents. It is best effort: what is wrong is left out at the smallest scale that is safe (a Route, a listener, a
// certificate, a Service) and the rest is there. It is pure: equal input gives equal output, in whatever order the
// documents come. It must not know files, what was served before (but for who was first), or Envoy.
package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Input is all that the output depends on.
type Input struct {
	// Documents in any order.
	Documents []*definition.Document
	// Certificates resolves a Certificate document to PEM, and a TrustBundle to its authorities' (as the chain). Both PEM and an error mean that these bytes are an earlier
	// state that still serves: the error is reported all the same. An error should be a *CertificateError.
	Certificates func(d *definition.Document) (chain, key []byte, err error)
	// Served are the documents that are being served now, in whole or in part. Where two want one name or one socket, the one
	// that has it keeps it. Nil on a cold start: the first by path has it.
	Served map[definition.Ref]*definition.Document
	// Sockets are the Output.Sockets that are being served now. Nil: those of Served.
	Sockets map[Socket]bool
	// HeldBack are documents that exist and cannot be used, and where they stand: a reference to one is told so, and no
	// built-in document takes its place.
	HeldBack map[definition.Ref]definition.Position
	// Memory is that of earlier compilations, and becomes that of this one too. Nil: all is made anew.
	Memory *Memory
	// Now is for the expiry of certificates. The zero value is the time of the call.
	Now time.Time
}

// Output is what is served, and what is wrong.
type Output struct {
	// Fleets are sorted by name. A fleet is there if a Gateway names it.
	Fleets []*ir.Fleet
	// Problems are sorted by position. An error means that the document, or the part that its field names, is not in Fleets.
	Problems []definition.Problem
	// Origins says where things stand: "Route/shop#rule", "Route/shop", "Service/api", "Gateway/web/https", "Certificate/shop".
	// It is made when it is first asked for, which most outputs never are. Nobody changes what it returns.
	Origins func() map[string]definition.Position
	// Sockets are those that Fleets have.
	Sockets map[Socket]bool
	// Missing says who refers to what is not there, or is there only as a built-in. A listener is Ref{"Listener", "web/https"}.
	Missing map[definition.Ref][]definition.Ref
}

// Socket is one that a Gateway has in a fleet.
type Socket struct {
	Fleet    string
	Address  ir.Address
	Gateway  string
	Protocol sluicev1.Listener_Protocol
	// ProxyProtocol is among it: a listener that begins to want headers is new to those that it shares the socket with.
	ProxyProtocol ir.ProxyHeader
}

// Compile reads like the language: names, services, certificates, sockets, routes, then what each fleet gets of it.
func Compile(in Input) *Output {
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	c := &compiler{
		in:       in,
		out:      &Output{Missing: map[definition.Ref][]definition.Ref{}, Sockets: map[Socket]bool{}},
		services: make(map[string]*service, len(in.Documents)),
		certs:    map[string]*certificate{},
		trust:    map[string]*trustBundle{},
		gateways: map[string]*gateway{},
		fleets:   map[string]*fleet{},
		joined:   map[string][]*listener{},
		held:     maps.Clone(in.HeldBack),
		memory:   in.Memory.turned(),
	}
	if c.held == nil {
		c.held = map[definition.Ref]definition.Position{}
	}
	documents, problems := Unique(in.Documents, in.Served)
	c.out.Problems = problems
	c.byName(documents)
	c.addBuiltin()
	c.resolveTrustBundles()
	c.resolveCertificates()
	c.resolveServices()
	c.resolveGateways()
	c.claimSockets()
	c.resolveRoutes()
	c.joinRoutes()
	for _, name := range sortedKeys(c.fleets) {
		c.out.Fleets = append(c.out.Fleets, c.fleet(name, c.fleets[name]))
	}
	c.warnUnreachable()
	c.warnUnused()
	c.warnIdle()
	sortProblems(c.out.Problems)
	for missing, by := range c.out.Missing {
		slices.SortFunc(by, definition.CompareRefs)
		c.out.Missing[missing] = slices.Compact(by)
	}
	c.out.Origins = c.origins()
	c.memory.forget()
	return c.out
}

// compiler holds the nouns of one run, by name.
type compiler struct {
	in  Input
	out *Output

	// held is Input.HeldBack, and what turned out to be bad.
	held map[definition.Ref]definition.Position

	services map[string]*service
	sorted   []*service // services, by name
	certs    map[string]*certificate
	trust    map[string]*trustBundle
	gateways map[string]*gateway
	// listeners are those that are right by themselves.
	listeners []*listener
	routes    []*route               // sorted by name, the bad ones left out
	fleets    map[string]*fleet      // what the gateways name
	docs      []*definition.Document // Routes, before resolveRoutes, sorted by name
	joined    map[string][]*listener // by what Routes call them: those that can be joined
	tally     tally                  // for warnUnreachable
	idle      []*listener            // for warnIdle
	written   []*definition.Document // all that is told apart by its name, for origins

	memory *Memory
}

// builtin is parsed once.
var builtin = sync.OnceValue(definition.BuiltinGateway)

func isBuiltin(d *definition.Document) bool { return slices.Contains(builtin(), d) }

func (c *compiler) byName(documents []*definition.Document) {
	c.written = make([]*definition.Document, 0, len(documents))
	for _, d := range documents {
		c.add(d)
	}
	sortByName(c.sorted, func(s *service) string { return s.doc.Ref.Name })
	sortByName(c.docs, func(d *definition.Document) string { return d.Ref.Name })
}

// sortByName is quick about what is sorted already, as the store's documents are.
func sortByName[T any](list []T, name func(T) string) {
	byName := func(a, b T) int { return cmp.Compare(name(a), name(b)) }
	if !slices.IsSortedFunc(list, byName) {
		slices.SortFunc(list, byName)
	}
}

func (c *compiler) add(d *definition.Document) {
	switch m := d.Message.(type) {
	case *sluicev1.Service:
		memo := c.memory.service(m)
		s := &service{doc: d, memo: memo, msg: memo.msg}
		c.services[d.Ref.Name], c.sorted = s, append(c.sorted, s)
	case *sluicev1.Certificate:
		c.certs[d.Ref.Name] = &certificate{doc: d, msg: definition.WithDefaults(m)}
	case *sluicev1.TrustBundle:
		c.trust[d.Ref.Name] = &trustBundle{doc: d}
	case *sluicev1.Gateway:
		c.gateways[d.Ref.Name] = &gateway{doc: d, msg: definition.WithDefaults(m)}
	case *sluicev1.Route:
		c.docs = append(c.docs, d)
	default: // Tests are for validate
		return
	}
	c.written = append(c.written, d)
}

// origins keeps what Output.Origins is made of.
func (c *compiler) origins() func() map[string]definition.Position {
	written, listeners, fleets, routes := c.written, c.listeners, c.fleets, c.routes
	return sync.OnceValue(func() map[string]definition.Position {
		at := make(map[string]definition.Position, len(written)+2*len(routes))
		for _, d := range written {
			at[d.Ref.String()] = d.Position
		}
		for _, l := range listeners {
			at["Gateway/"+l.name] = l.gateway.doc.At(l.field)
		}
		for _, f := range fleets {
			for _, s := range sockets(f.listeners) {
				for _, l := range s.listeners {
					if len(s.listeners) > 1 && !l.tcp() {
						at["Gateway/"+l.name+misdirectedRule] = l.gateway.doc.At(l.field)
					}
				}
			}
		}
		for _, r := range routes {
			if !r.short() {
				at["Route/"+r.msg.GetName()] = r.doc.Position
			}
			for _, rule := range r.rules {
				at[rule.id] = r.doc.At(rule.field)
			}
		}
		return at
	})
}

// addBuiltin adds the built-in Gateway if something joins it, and the built-in Certificate if something presents it,
// where no document has the name. They are told as missing all the same: a document of the name that is deleted while it
// is used is kept as any other is. A port that moves from the world to loopback is an outage, and a slip of the hand is
// likelier than that wish; who has it writes the built-in Gateway out.
func (c *compiler) addBuiltin() {
	for _, d := range builtin() {
		if _, held := c.held[d.Ref]; held {
			continue
		}
		var by []definition.Ref
		switch d.Message.(type) {
		case *sluicev1.Gateway:
			if c.gateways[d.Ref.Name] == nil {
				by = c.joining(d.Ref.Name)
			}
		case *sluicev1.Certificate:
			if c.certs[d.Ref.Name] == nil {
				by = c.presenting(d.Ref.Name)
			}
		}
		if len(by) > 0 {
			c.add(d)
			c.out.Missing[d.Ref] = by
		}
	}
}

// joining are the documents that join a Gateway.
func (c *compiler) joining(gateway string) []definition.Ref {
	joins := func(refs []string) bool {
		return len(refs) == 0 && gateway == definition.DefaultGateway ||
			slices.ContainsFunc(refs, func(ref string) bool { g, _ := splitGatewayRef(ref); return g == gateway })
	}
	by := make([]definition.Ref, 0, len(c.docs)+len(c.sorted))
	for _, d := range c.docs {
		if joins(d.Message.(*sluicev1.Route).GetGateways()) {
			by = append(by, d.Ref)
		}
	}
	for _, s := range c.sorted {
		if len(s.msg.GetHosts()) > 0 && joins(s.msg.GetGateways()) {
			by = append(by, s.doc.Ref)
		}
	}
	return by
}

// presenting are the Gateways that present a Certificate.
func (c *compiler) presenting(certificate string) []definition.Ref {
	var by []definition.Ref
	for _, g := range c.gateways {
		if slices.ContainsFunc(g.msg.GetListeners(), func(l *sluicev1.Listener) bool { return slices.Contains(l.GetCertificates(), certificate) }) {
			by = append(by, g.doc.Ref)
		}
	}
	return by
}

func (c *compiler) problem(severity definition.Severity, d *definition.Document, field, code, format string, args ...any) {
	c.out.Problems = append(c.out.Problems, definition.Problem{
		Position: d.At(field), Code: code, Severity: severity, Ref: d.Ref, Field: field, Message: fmt.Sprintf(format, args...),
	})
}

func (c *compiler) errorf(d *definition.Document, field, code, format string, args ...any) {
	c.problem(definition.SeverityError, d, field, code, format, args...)
}

func (c *compiler) warnf(d *definition.Document, field, code, format string, args ...any) {
	c.problem(definition.SeverityWarning, d, field, code, format, args...)
}

// missing reports a reference to what is not there, or is there and held back.
func (c *compiler) missing(d *definition.Document, field, code string, to definition.Ref) {
	c.out.Missing[to] = append(c.out.Missing[to], d.Ref)
	if at, held := c.held[to]; held {
		c.errorf(d, field, code, "%s is held back: see %s", to, at)
		return
	}
	c.errorf(d, field, code, "got %s, want the name of a %s that is defined", to.Name, to.Kind)
}

func sortProblems(problems []definition.Problem) {
	slices.SortStableFunc(problems, func(a, b definition.Problem) int {
		return cmp.Or(comparePositions(a.Position, b.Position), definition.CompareRefs(a.Ref, b.Ref), cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
}

func comparePositions(a, b definition.Position) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
