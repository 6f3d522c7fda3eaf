package client

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// subscription is what the caller wants of one type. Guarded by Client.mu.
type subscription struct {
	all   bool
	names map[string]bool
	// renewed are names that were given up and wanted again before the run goroutine looked: their resources were
	// forgotten, so they must be asked for again (rule 5).
	renewed map[string]bool
}

// typeState is the protocol's state of one type. Only the run goroutine.
type typeState struct {
	// all and names are what was wanted when the run goroutine last looked.
	all   bool
	names map[string]bool

	// These end with the stream.

	// requested: a request for the type was sent.
	requested bool
	// answered: a response came.
	answered bool
	// nonce is the last response's.
	nonce string
	// asked are the names that the control plane knows to be wanted.
	asked map[string]bool
	// due says when a name that was asked for counts as missing.
	due map[string]time.Time

	// These outlive the stream.

	// version is the last accepted one (state-of-the-world).
	version string
	// versions are of the resources that were accepted, by name. Of a refused one it is the version before.
	versions map[string]string
	// refused are names whose last version was refused; some have an accepted one too.
	refused map[string]bool
	// expiry is when a TTL ends, by name.
	expiry map[string]time.Time
}

// Subscribe replaces the names that are wanted of a type. A name given up is forgotten: if it is wanted again, the
// Receiver gets it again.
func (c *Client) Subscribe(typeURL string, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subscription(typeURL)
	next := make(map[string]bool, len(names))
	for _, n := range names {
		next[n] = true
	}
	if maps.Equal(s.names, next) {
		return
	}
	for n := range next {
		if !s.names[n] {
			s.renewed[n] = true
		}
	}
	s.names = next
	c.signal()
}

// SubscribeAll wants all resources of a type, by the legacy wildcard (no names), which every control plane knows. It
// holds for good.
func (c *Client) SubscribeAll(typeURL string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscription(typeURL).all = true
	c.signal()
}

func (c *Client) subscription(typeURL string) *subscription {
	s := c.wanted[typeURL]
	if s == nil {
		s = &subscription{names: map[string]bool{}, renewed: map[string]bool{}}
		c.wanted[typeURL] = s
	}
	return s
}

func (c *Client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// order is the order in which types are asked for on a new stream: as they are pushed, then any others.
func (c *Client) order() []string {
	var urls []string
	for _, t := range resource.PushOrder {
		if c.wanted[t.URL] != nil {
			urls = append(urls, t.URL)
		}
	}
	for _, url := range slices.Sorted(maps.Keys(c.wanted)) {
		if !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return urls
}

// subscribe compares what is wanted with what the stream knows, and returns the requests that are due.
func (c *Client) subscribe() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var requests []*request
	for _, url := range c.order() {
		want := c.wanted[url]
		st := c.types[url]
		if st == nil {
			st = newTypeState()
			c.types[url] = st
		}
		st.all, st.names = want.all, want.names // want.names is replaced, never changed
		st.forget(want.renewed)
		if r := st.request(want.renewed); r != nil {
			r.typeURL = url
			requests = append(requests, r)
			c.setDue(st, r)
		}
		clear(want.renewed)
	}
	return requests
}

func newTypeState() *typeState {
	return &typeState{
		asked: map[string]bool{}, due: map[string]time.Time{},
		versions: map[string]string{}, refused: map[string]bool{}, expiry: map[string]time.Time{},
	}
}

// forget drops what is no longer wanted, or was not for a moment.
func (st *typeState) forget(renewed map[string]bool) {
	if st.all {
		return
	}
	for name := range st.versions {
		if !st.names[name] || renewed[name] {
			st.drop(name)
		}
	}
	maps.DeleteFunc(st.due, func(name string, _ time.Time) bool { return !st.names[name] })
	maps.DeleteFunc(st.refused, func(name string, _ bool) bool { return !st.names[name] })
}

func (st *typeState) drop(name string) {
	delete(st.versions, name)
	delete(st.refused, name)
	delete(st.expiry, name)
}

// request is what must be told to the stream, or nil. Afterwards the stream counts as told.
func (st *typeState) request(renewed map[string]bool) *request {
	if st.all {
		if st.requested {
			return nil
		}
		st.requested = true
		return &request{initial: maps.Clone(st.versions), version: st.version}
	}
	r := &request{version: st.version, nonce: st.nonce}
	for name := range st.names {
		if !st.asked[name] || renewed[name] {
			r.subscribe = append(r.subscribe, name)
		}
	}
	for name := range st.asked {
		if !st.names[name] {
			r.unsubscribe = append(r.unsubscribe, name)
		}
	}
	if len(r.subscribe)+len(r.unsubscribe) == 0 {
		return nil
	}
	slices.Sort(r.subscribe)
	slices.Sort(r.unsubscribe)
	r.names = slices.Sorted(maps.Keys(st.names))
	if !st.requested {
		st.requested = true
		r.initial = maps.Clone(st.versions)
	}
	st.asked = maps.Clone(st.names)
	return r
}

// setDue starts the clock of what was just asked for and is not there.
func (c *Client) setDue(st *typeState, r *request) {
	at := time.Now().Add(c.options.MissingAfter)
	if st.all && !st.answered {
		st.due[Wildcard] = at
	}
	for _, name := range r.subscribe {
		if _, have := st.versions[name]; !have {
			st.due[name] = at
		}
	}
}

// resetStream forgets what belonged to the last stream.
func (st *typeState) resetStream() {
	st.requested, st.answered, st.nonce = false, false, ""
	clear(st.asked)
	clear(st.due)
	if len(st.versions) == 0 {
		// Nothing is kept that the version could spare: a control plane that knows it must send all.
		st.version = ""
	}
}
