package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// step is one Update, and what is served and wrong after it.
type step struct {
	files  tree
	want   string
	errors []string
	// restart: the store is opened anew before.
	restart bool
}

// steps goes through some states of the files, with a state folder.
func steps(t *testing.T, list []step) {
	t.Helper()
	dir := t.TempDir()
	s, _ := open(t, dir)
	var files Files
	for i, step := range list {
		if step.restart {
			s.Close()
			s, _ = open(t, dir)
			files = Files{}
		}
		r := s.Update(files.Set(step.files.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		if got := state(r); got != step.want {
			t.Errorf("step %d: got served %q, want %q", i, got, step.want)
		}
		if got := words(r); !slices.Equal(got, step.errors) {
			t.Errorf("step %d: got errors %q, want %q", i, got, step.errors)
			for _, p := range r.Problems {
				t.Log(p.Error())
			}
		}
	}
}

const (
	// half has a listener that cannot be had.
	half     = "kind: Gateway\nname: web\nlisteners: [{name: http, port: 80, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS, certificates: [nope]}]\n"
	halfToo  = "kind: Gateway\nname: web\nlisteners: [{name: plain, port: 81, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS, certificates: [nope]}]\n"
	halfNone = "kind: Gateway\nname: web\nlisteners: [{name: tls, port: 443, protocol: HTTPS, certificates: [nope]}]\n"
	halves   = "kind: Gateway\nname: web\nlisteners: [{name: http, port: 80, protocol: HTTP}, {name: more, port: 82, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS, certificates: [nope]}]\n"
	other    = "kind: Gateway\nname: other\nlisteners: [{name: http, port: 90, protocol: HTTP}]\n"
	spare    = "{kind: Service, name: spare, endpoints: [127.0.0.1:3]}\n"
	// lost publishes itself where nothing listens, and is used all the same.
	lost = "{kind: Service, name: api, hosts: [a.example.com], gateways: [nope], endpoints: [127.0.0.1:1]}\n"
)

// TestInPart: what was never without fault, and is served in part, goes on being served when a typo is added.
func TestInPart(t *testing.T) {
	noCertificate := "SL0204 Gateway/web nothing"
	for name, list := range map[string][]step{
		"a Gateway": {
			{tree{"a", half, "b", shop, "c", api}, all, []string{noCertificate}, false},
			{tree{"a", half + "colour: red\n", "b", shop, "c", api}, all, []string{noCertificate, "SL0107 Gateway/web last good version"}, false},
			{tree{"a", half + "colour: red\n", "b", shop, "c", api}, all, []string{noCertificate, "SL0107 Gateway/web last good version"}, true},
			{tree{"b", shop, "c", api}, all, []string{"SL0202 Gateway/web last good version", noCertificate}, false},
			{tree{"a", halfToo, "b", shop, "c", api}, "web/plain Route/shop#any api=127.0.0.1:1", []string{noCertificate}, false}, // it can be edited
			{tree{"a", halfNone, "b", shop, "c", api}, "web/plain Route/shop#any api=127.0.0.1:1", []string{"SL0204 Gateway/web last good version", noCertificate}, false},
			{tree{"a", web, "b", shop, "c", api}, all, nil, false},
			{tree{"a", halfToo, "b", shop, "c", api}, all, []string{"SL0204 Gateway/web last good version"}, false}, // there is a good one now
		},
		"a Gateway's listener that a Route joins": {
			{tree{"a", halves, "b", shopHTTP, "c", api, "d", other}, "web/http web/more other/http Route/shop#any api=127.0.0.1:1", []string{noCertificate}, false},
			{tree{"a", strings.Replace(halves, "port: 80", "port: 90", 1), "b", shopHTTP, "c", api, "d", other}, "web/http web/more other/http Route/shop#any api=127.0.0.1:1",
				[]string{"SL0203 Gateway/web last good version", "SL0302 Gateway/web last good version", noCertificate}, false},
		},
		"a Service that lost its hosts": {
			{tree{"a", web, "b", shop, "c", lost}, all, []string{"SL0202 Service/api nothing"}, false},
			{tree{"a", web, "b", shop, "c", strings.Replace(lost, "hosts", "colour: red, hosts", 1)}, all,
				[]string{"SL0107 Service/api last good version", "SL0202 Service/api nothing"}, true},
			{tree{"a", web, "b", shop}, all, []string{"SL0201 Service/api last good version", "SL0202 Service/api nothing"}, false},
			{tree{"a", web, "b", shop, "c", strings.Replace(lost, ":1]", ":2]", 1)}, "web/http Route/shop#any api=127.0.0.1:2", []string{"SL0202 Service/api nothing"}, false},
		},
	} {
		t.Run(name, func(t *testing.T) { steps(t, list) })
	}
}

// TestNamesAgain: a set is looked at anew where it has as many documents as before, and other names; and one with a name that
// stands twice each time.
func TestNamesAgain(t *testing.T) {
	twice := []string{"SL0301 Service/api nothing"}
	steps(t, []step{
		{tree{"a", web, "b", shop, "c", api, "d", spare}, all, nil, false},
		{tree{"a", web, "b", shop, "c", api, "d", apiTwo}, all, twice, false},
		{tree{"a", web, "b", shop, "c", api, "d", apiTwo}, all, twice, false},
		{tree{"a", web, "b", shop, "c", api, "d", spare}, all, nil, false},
		{tree{"a", web, "b", shop, "c", spare, "d", api}, all, nil, false},
	})
}

// TestSocketsSurvive: the built-in Gateway keeps its port from a newcomer, after a restart too.
func TestSocketsSurvive(t *testing.T) {
	hello := "kind: Service\nname: hello\nhosts: [h.localhost]\nendpoints: [127.0.0.1:3]\n"
	eager := "kind: Gateway\nname: web\nlisteners: [{name: http, port: 8080, protocol: HTTP}]\n"
	served := "default/http default/https/default Route/hello#any Route/hello#any hello=127.0.0.1:3"
	steps(t, []step{
		{tree{"b", hello}, served, nil, false},
		{tree{"a", eager, "b", hello}, served, []string{"SL0302 Gateway/web nothing"}, false},
		{tree{"a", eager, "b", hello}, served, []string{"SL0302 Gateway/web nothing"}, true},
	})
}

// TestSocketsSurviveByHeader: who is served on a shared socket says whether it takes PROXY headers, after a restart too.
func TestSocketsSurviveByHeader(t *testing.T) {
	listener := "kind: Gateway\nname: %s\nlisteners: [{name: tls, port: 444, protocol: HTTPS, hosts: [%s.localhost], certificates: [default]%s}]\n"
	old := fmt.Sprintf(listener, "old", "old", ", proxyProtocol: {}")
	eager := fmt.Sprintf(listener, "eager", "eager", "")
	served := "old/tls/default"
	held := []string{"SL0302 Gateway/eager nothing"}
	steps(t, []step{
		{tree{"b", old}, served, nil, false},
		{tree{"a", eager, "b", old}, served, held, false},
		{tree{"a", eager, "b", old}, served, held, true},
	})
}

// TestToHeldListener moves a Route to a Gateway whose only listener is held back: it stays where it was.
func TestToHeldListener(t *testing.T) {
	moved := strings.Replace(shop, "[web]", "[late]", 1)
	steps(t, []step{
		{tree{"a", web, "b", shop, "c", api}, all, nil, false},
		{tree{"a", web, "b", moved, "c", api, "d", late}, all, []string{"SL0203 Route/shop last good version", "SL0302 Gateway/late nothing"}, false},
		{tree{"a", web, "b", moved, "c", api, "d", strings.Replace(late, "80", "81", 1)}, "web/http late/http Route/shop#any api=127.0.0.1:1", nil, false},
	})
}

// TestNameIsKept: a typo in the document that is served does not hand its name to one that was held back.
func TestNameIsKept(t *testing.T) {
	held := "SL0301 Service/api nothing"
	steps(t, []step{
		{tree{"a", web, "b", shop, "c", api}, all, nil, false},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", api}, all, []string{held}, false},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", apiBad}, all, []string{held, "SL0107 Service/api last good version"}, true},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", apiOff}, all, []string{held, "SL0001 Service/api last good version"}, false},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", nameless}, all, []string{held, "SL0107 Service last good version"}, false},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", ""}, all, []string{held, "SL0401  last good version"}, false},
		{tree{"a", web, "aa", apiTwo, "b", shop, "c", api}, all, []string{held}, false},
		{tree{"a", web, "aa", apiTwo, "b", shop}, "web/http Route/shop#any api=127.0.0.1:2", nil, false},
	})
}

// TestCutShort cuts a file within its second document: the third is not taken for deleted.
func TestCutShort(t *testing.T) {
	whole := web + "---\n" + shop + "---\n" + api
	cut := whole[:strings.Index(whole, "service: api")]
	broken := []string{"SL0001 Route/shop last good version"}
	steps(t, []step{
		{tree{"a", whole}, all, nil, false},
		{tree{"a", cut}, all, broken, false},
		{tree{"a", cut}, all, broken, true},
		{tree{"a", web + "---\n" + api}, "web/http", nil, false},
	})
}

// TestShortAndLong moves hosts from a Service to the Route of its name, and back, with a fault in what is to take over.
func TestShortAndLong(t *testing.T) {
	const (
		short    = "kind: Service\nname: shop\nhosts: [a.example.com]\ngateways: [web]\nendpoints: [127.0.0.1:1]\n"
		plain    = "kind: Service\nname: shop\nendpoints: [127.0.0.1:1]\n"
		long     = "kind: Route\nname: shop\ngateways: [web]\nhosts: [a.example.com]\nrules: [{name: long, backends: [{service: shop}]}]\n"
		typo     = "colour: red\n"
		asShort  = "web/http Route/shop#any shop=127.0.0.1:1"
		asLong   = "web/http Route/shop#long shop=127.0.0.1:1"
		keptName = "SL0301 Service/shop last good version"
		keptLong = "SL0301 Route/shop last good version"
	)
	dangling := strings.Replace(long, "service: shop", "service: nope", 1)
	steps(t, []step{
		{tree{"a", web, "b", short}, asShort, nil, false},
		{tree{"a", web, "b", plain, "c", long + typo}, asShort, []string{keptName, "SL0107 Route/shop last good version"}, false},
		{tree{"a", web, "b", plain, "c", long + typo}, asShort, []string{keptName, "SL0107 Route/shop last good version"}, true},
		{tree{"a", web, "b", plain, "c", dangling}, asShort, []string{keptName, "SL0201 Route/shop last good version"}, false},
		{tree{"a", web, "c", dangling}, asShort, []string{keptName, "SL0201 Route/shop last good version"}, false},
		{tree{"a", web, "b", plain, "c", long}, asLong, nil, false},
		{tree{"a", web, "b", short + typo}, asLong, []string{"SL0107 Service/shop last good version", keptLong}, false},
		{tree{"a", web, "b", strings.Replace(short, "[web]", "[nope]", 1)}, asLong, []string{"SL0202 Service/shop last good version", keptLong}, true},
		{tree{"a", web, "b", short}, asShort, nil, false},
		{tree{"a", web, "b", plain}, "web/http", nil, false},
	})
}

// TestSameWords takes away two listeners that Routes still join: what is said does not depend on chance.
func TestSameWords(t *testing.T) {
	two := "kind: Gateway\nname: web\nlisteners: [{name: one, port: 80, protocol: HTTP}, {name: two, port: 81, protocol: HTTP}]\n"
	none := "kind: Gateway\nname: web\nlisteners: [{name: three, port: 82, protocol: HTTP}]\n"
	routes := strings.Replace(shop, "[web]", "[web/one]", 1) + "---\n" + strings.Replace(strings.Replace(shop, "[web]", "[web/two]", 1), "name: shop", "name: other", 1)
	first := ""
	for i := range 200 {
		s, err := Open(Options{})
		if err != nil {
			t.Fatal(err)
		}
		var files Files
		s.Update(files.Set(tree{"a", two, "b", routes, "c", api}.files()))
		r := s.Update(files.Set(tree{"a", none, "b", routes, "c", api}.files()))
		if len(r.Problems) != 1 {
			t.Fatalf("got %v, want one problem", r.Problems)
		}
		if said := r.Problems[0].Error(); i == 0 {
			first = said
		} else if said != first {
			t.Fatalf("got %q, and %q before", said, first)
		}
	}
}

// TestLetGo deletes a Service that nothing needs but a version of a Route that is held back.
func TestLetGo(t *testing.T) {
	other := strings.Replace(api, "api", "other", 1)
	toOther := strings.Replace(shop, "service: api", "service: other", 1)
	toBoth := strings.Replace(shop, "{service: api}", "{service: api}, {service: nope}", 1)
	toAll := strings.Replace(shop, "{service: api}", "{service: api}, {service: other}, {service: nope}", 1)
	served, gone := "web/http Route/shop#any other=127.0.0.1:1", "SL0201 Route/shop last good version"
	steps(t, []step{
		{tree{"a", web, "b", toOther, "c", api, "d", other}, served, nil, false},
		{tree{"a", web, "b", toBoth, "d", other}, served, []string{gone}, false},
		{tree{"a", web, "b", toBoth}, served, []string{gone, gone, "SL0201 Service/other last good version"}, false},
		{tree{"a", web, "b", toAll}, served, []string{gone, gone, "SL0201 Service/other last good version"}, false},
		{tree{"a", web, "b", toOther}, served, []string{"SL0201 Service/other last good version"}, false},
	})
}

// TestOwnDefault deletes the Gateway that stood in the place of the built-in one, while it is used.
func TestOwnDefault(t *testing.T) {
	own := strings.Replace(web, "name: web", "name: default", 1)
	hello := "kind: Service\nname: hello\nhosts: [h.localhost]\nendpoints: [127.0.0.1:3]\n"
	served := "default/http Route/hello#any hello=127.0.0.1:3"
	steps(t, []step{
		{tree{"a", own, "b", hello}, served, nil, false},
		{tree{"b", hello}, served, []string{"SL0202 Gateway/default last good version"}, false},
		{tree{"b", hello}, served, []string{"SL0202 Gateway/default last good version"}, true},
		{tree{"b", api}, "", nil, false},
		{tree{"b", hello}, "default/http default/https/default Route/hello#any Route/hello#any hello=127.0.0.1:3", nil, false},
	})
}
