package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// watchStatus writes the status and then what changes: in JSON and YAML, and of one proxy, by the same writer; of many in a
// line for each change. An interrupt ends it, and is no error.
func watchStatus(ctx context.Context, client adminv1.AdminServiceClient, request *adminv1.StatusRequest,
	write func(*adminv1.StatusResponse) error, output string, out io.Writer) error {
	stream, err := client.WatchStatus(ctx, &adminv1.WatchStatusRequest{Status: request})
	if err != nil {
		return err
	}
	changes := &changes{out: out, proxies: map[string]*adminv1.Proxy{}}
	for first := true; ; first = false {
		news, err := stream.Recv()
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		response := news.GetStatus()
		lines := request.GetProxy() == "" && (output == "" || output == "wide")
		if lines {
			err = changes.write(readable(news), first, time.Now())
		}
		if err == nil && (first || !lines && len(response.GetProxies()) > 0) {
			if output == "yaml" && !first {
				_, _ = io.WriteString(out, "---\n")
			}
			err = write(response)
		}
		if err != nil {
			return err
		}
	}
}

// changes writes a line for each thing that is not as it was.
type changes struct {
	out      io.Writer
	proxies  map[string]*adminv1.Proxy
	problems map[string]bool
}

func (c *changes) write(news *adminv1.WatchStatusResponse, quiet bool, now time.Time) (err error) {
	line := func(format string, args ...any) {
		if !quiet && err == nil {
			_, err = fmt.Fprintf(c.out, now.Format(time.TimeOnly)+" "+format+"\n", args...)
		}
	}
	response := news.GetStatus()
	for _, p := range response.GetProxies() {
		name := p.GetFleet() + "/" + p.GetId()
		c.proxy(name, c.proxies[name], p, line)
		c.proxies[name] = p
	}
	for _, name := range news.GetForgotten() {
		line("%s is forgotten", name)
		delete(c.proxies, name)
	}
	there := map[string]bool{}
	for _, p := range response.GetProblems() {
		text := describeProblem(p)
		if there[text] = true; !c.problems[text] {
			line("%s", text)
		}
	}
	for text := range c.problems {
		if !there[text] {
			line("well again: %s", text)
		}
	}
	c.problems = there
	return err
}

func (c *changes) proxy(name string, before, p *adminv1.Proxy, line func(format string, args ...any)) {
	switch {
	case !p.GetConnected():
		if before == nil || before.GetConnected() {
			line("%s went", name)
		}
		return
	case before == nil || (!before.GetConnected() || before.GetSince() != p.GetSince() || before.GetPeer() != p.GetPeer()):
		line("%s (%s) connected from %s", name, p.GetAgent(), p.GetPeer())
	}
	for _, t := range p.GetTypes() {
		was := adminv1.TypeStatus_NOT_SENT
		if before != nil {
			was = typeOf(before, t.GetType()).GetState()
		}
		if t.GetState() == was && (before == nil || typeOf(before, t.GetType()).GetAccepted() == t.GetAccepted()) {
			continue
		}
		text := fmt.Sprintf("%s %s %s", name, t.GetType(), t.GetState())
		if v := t.GetAccepted(); v != "" {
			text += " " + v
		}
		if t.GetState() == adminv1.TypeStatus_ERROR {
			text += ": " + t.GetError() + about(t)
		}
		line("%s", text)
	}
}
