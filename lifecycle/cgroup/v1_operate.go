package cgroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// eventsV1 is what cgroup.events tells in version 2.
func (g *Group) eventsV1() (map[string]uint64, error) {
	events := map[string]uint64{}
	if freezer, ok := g.controller("freezer"); ok {
		state, err := freezer.read("freezer.state")
		if err != nil {
			return nil, gone(err)
		}
		if strings.TrimSpace(state) == "FROZEN" {
			events["frozen"] = 1
		}
	}
	for _, p := range g.parts {
		err := p.walk(maxDepth, func(d dir) error {
			words, err := d.words("cgroup.procs")
			if len(words) > 0 {
				events["populated"] = 1
			}
			return gone(err)
		})
		if err != nil {
			return nil, err
		}
	}
	return events, nil
}

// awaitV1 waits for a value of eventsV1, which nothing reports.
func (g *Group) awaitV1(ctx context.Context, key string, value uint64) error {
	for start := time.Now(); ; pause(start) {
		events, err := g.eventsV1()
		if err != nil {
			return err
		}
		if events[key] == value {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// pause is how long to wait before asking again, up to a limit.
func pause(start time.Time) {
	time.Sleep(min(20*time.Millisecond, max(time.Millisecond, time.Since(start)/4)))
}

// killV1 is Kill for version 1, where what is frozen does not end, and has to be
// thawed after. What cannot be frozen may fork, and is found the next time.
func (g *Group) killV1() error {
	for start := time.Now(); time.Since(start) < 2*time.Second; pause(start) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/10)
		freezeErr := g.Freeze(ctx)
		cancel()
		pids, err := g.Pids()
		for _, pid := range pids {
			if pid > 0 { // 0 is of another pid namespace
				_ = unix.Kill(pid, unix.SIGKILL) // it may just have ended
			}
		}
		if freezeErr == nil {
			err = errors.Join(err, g.setFrozen(false))
		}
		if err != nil || freezeErr == nil || len(pids) == 0 {
			if errors.Is(gone(err), ErrGone) {
				return nil
			}
			return err
		}
	}
	return fmt.Errorf("%s: processes survive: %w", g.place.Dir(), ErrBusy)
}

// LetDie thaws a group of version 1, where what is frozen does not end.
func (g *Group) LetDie() error {
	err := g.setFrozen(false)
	if errors.Is(err, ErrController) { // without a freezer nothing is frozen
		return nil
	}
	return gone(err)
}
