package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxUnsent is how many requests may wait for a control plane that does not read, before no more is read from it.
const maxUnsent = 256

// opened is what an attempt to open a stream came to.
type opened struct {
	stream stream
	err    error
}

// session runs one stream to its end. served tells whether a response came, which shows that the control plane works.
func (c *Client) session(parent context.Context) (served bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	hurry := c.hurry(cancel)
	defer hurry.Stop()
	s, err := c.connect(ctx, cancel)
	if err != nil {
		cancel(err)
		return false, err
	}
	var (
		in    = make(chan *response)
		out   = make(chan *request)
		ended = make(chan error, 2)
		wg    sync.WaitGroup
	)
	wg.Go(func() { read(ctx, s, in, ended) })
	wg.Go(func() { write(ctx, s, out, ended) })
	c.setConnected(true)
	c.options.Logger.Info("connected to the control plane")
	// Whatever ends the session, its goroutines end with it (rule 26).
	defer func() {
		c.setConnected(false)
		cancel(errStopped)
		wg.Wait()
		s.close()
		for _, st := range c.types {
			st.resetStream()
		}
	}()
	var unsent []*request
	for {
		unsent = append(unsent, c.subscribe()...)
		var (
			next   *request
			sendTo chan<- *request
			from   <-chan *response
		)
		if len(unsent) > 0 {
			next, sendTo = unsent[0], out
		}
		if len(unsent) < maxUnsent {
			from = in
		}
		timer := c.nextDeadline()
		select {
		case sendTo <- next:
			unsent = unsent[1:]
		case r := <-from:
			served, c.heard = true, true
			hurry.Stop()
			unsent = append(unsent, c.handle(r))
		case <-c.wake:
		case <-timer.C:
			c.expire()
		case err := <-ended:
			timer.Stop()
			return served, err
		case <-ctx.Done():
			timer.Stop()
			return served, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// connect opens a stream within ConnectTimeout. TTLs go on running out meanwhile.
func (c *Client) connect(ctx context.Context, cancel context.CancelCauseFunc) (stream, error) {
	limit := time.AfterFunc(c.options.ConnectTimeout, func() {
		cancel(fmt.Errorf("no connection within %v", c.options.ConnectTimeout))
	})
	result := make(chan opened, 1)
	go func() {
		s, err := c.open(ctx)
		result <- opened{s, err}
	}()
	got, err := wait(ctx, c, result)
	if err != nil {
		// The context ended, so open returns soon. Wait for it, so that nothing is left behind.
		got = <-result
	}
	if !limit.Stop() || ctx.Err() != nil {
		if got.err == nil {
			got.stream.close()
		}
		return nil, context.Cause(ctx)
	}
	return got.stream, got.err
}

// read hands over responses until the stream or the context ends.
func read(ctx context.Context, s stream, in chan<- *response, ended chan<- error) {
	for {
		r, err := s.recv()
		if err != nil {
			ended <- fmt.Errorf("stream: %w", err)
			return
		}
		select {
		case in <- r:
		case <-ctx.Done():
			return
		}
	}
}

// write sends requests. It stands apart, since Send blocks while the control plane does not read.
func write(ctx context.Context, s stream, out <-chan *request, ended chan<- error) {
	for first := true; ; first = false {
		select {
		case r := <-out:
			if err := s.send(r, first); err != nil {
				// At io.EOF the stream has ended, and Recv says why.
				if !errors.Is(err, io.EOF) {
					ended <- fmt.Errorf("stream: %w", err)
				}
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
