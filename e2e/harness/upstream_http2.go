package harness

import (
	"io"
	"log"
	"net"
	"net/http"
	"sort"
)

// startHTTP2 serves with the library; names come in lower case and sorted, since it keeps no order.
func (u *Upstream) startHTTP2() {
	u.server = &http.Server{
		Handler: http.HandlerFunc(u.handle), Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: withConn,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				u.update(func() { u.accepted++ })
			}
		},
	}
	u.server.Protocols.SetUnencryptedHTTP2(true)
	u.server.Protocols.SetHTTP2(true)
	u.wg.Go(func() { _ = u.server.Serve(u.listener) })
}

func (u *Upstream) handle(w http.ResponseWriter, r *http.Request) {
	s := &Seen{
		Upstream: u.Name, Proxy: said(connOf(r.Context())), Proto: r.Proto, Method: r.Method, Path: r.RequestURI, Authority: r.Host,
		Header: flat(r.Header),
	}
	s.secured(connOf(r.Context()))
	if state, ok := u.check(s); ok {
		u.serveCheck(w, r, state)
		return
	}
	p, err := u.plan(s)
	if err != nil {
		s.Broken = err.Error()
	}
	u.add(s)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if p.upgrade && r.Method == http.MethodConnect && r.Header.Get(":protocol") != "" {
		w.Header().Set("X-Echo", u.Name)
		for _, f := range p.header {
			w.Header().Add(f.Name, f.Value)
		}
		w.WriteHeader(http.StatusOK)
		_ = u.echo(r.Body, w, http.NewResponseController(w).Flush, s)
		return
	}
	if !p.early {
		body, err := io.ReadAll(r.Body)
		u.update(func() {
			s.Body, s.Trailer = body, flat(r.Trailer)
			if s.Whole = err == nil; err != nil {
				s.Broken = err.Error()
			}
		})
	}
	if !u.wait(p.delay) || p.breakAt == "head" {
		panic(http.ErrAbortHandler)
	}
	if p.interim != 0 {
		w.Header().Set("x-interim", "yes")
		w.WriteHeader(p.interim)
		w.Header().Del("x-interim")
	}
	w.Header().Set("X-Echo", u.Name)
	for _, f := range p.header {
		w.Header().Add(f.Name, f.Value)
	}
	w.Header()["Date"] = nil
	w.WriteHeader(p.status)
	if p.breakAt == "body" {
		p.body = p.body[:len(p.body)/2]
	}
	if !p.isHead && !p.bodyless {
		_, _ = w.Write(p.body)
	}
	if p.breakAt == "body" {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, f := range p.trailer {
		w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
	}
}

func flat(h http.Header) []Field {
	var fields []Field
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, Field{name, v})
		}
	}
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return fields
}
