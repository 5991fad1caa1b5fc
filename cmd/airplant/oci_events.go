package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"airplant/lifecycle/cgroup"
)

type ociEvents struct {
	Stats    bool   `help:"Print what it uses once, and end."`
	Interval string `help:"Time between two lines of what it uses." default:"5s" placeholder:"DURATION"`
	ID       string `arg:"" help:"Name of the container."`
}

func (c *ociEvents) Run(e *env, g *ociGlobals) (err error) {
	every, err := parseInterval(c.Interval)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	group, err := r.Group(c.ID)
	if err != nil {
		return fmt.Errorf("events of %s: %w", c.ID, err)
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	out := json.NewEncoder(e.stdout)
	if c.Stats {
		return c.stats(out, group)
	}
	return c.follow(out, group, every)
}

// parseInterval takes a duration, or a number of seconds.
func parseInterval(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if n, numErr := strconv.Atoi(text); numErr == nil && n < 1<<20 {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--interval %q: it must be a duration above 0", text)
	}
	return d, nil
}

func (c *ociEvents) stats(out *json.Encoder, group *cgroup.Group) error {
	s, err := group.Stats()
	if err != nil {
		return err
	}
	return out.Encode(cgroup.Event{Type: "stats", ID: c.ID, Data: s.Report()})
}

// follow prints what a container uses, and each time that its memory has run
// out, until its cgroup is empty or gone.
func (c *ociEvents) follow(out *json.Encoder, group *cgroup.Group, every time.Duration) (err error) {
	watch, err := group.Watch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.Close()) }()
	var killed uint64
	first := true
	for {
		next := time.Now().Add(every)
		for {
			ctx, cancel := context.WithDeadline(context.Background(), next)
			now, err := watch.Next(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if now.OOMKills > killed && !first {
				if err := out.Encode(cgroup.Event{Type: "oom", ID: c.ID}); err != nil {
					return err
				}
			}
			killed, first = now.OOMKills, false
			if !now.Populated {
				return nil
			}
		}
		if err := c.stats(out, group); err != nil {
			if errors.Is(err, cgroup.ErrGone) {
				return nil
			}
			return err
		}
	}
}
