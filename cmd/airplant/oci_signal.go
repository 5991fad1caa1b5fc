package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"airplant/lifecycle"

	"golang.org/x/sys/unix"
)

type ociKill struct {
	All    bool   `short:"a" help:"Signal all processes of the container."`
	Regex  bool   `help:"The name is a regular expression: signal all running containers that match."`
	ID     string `arg:"" help:"Name of the container."`
	Signal string `arg:"" optional:"" default:"SIGTERM" help:"Name or number of the signal."`
}

func (c *ociKill) Run(e *env, g *ociGlobals) error {
	sig, err := parseSignal(c.Signal)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	if !c.Regex {
		return r.Kill(c.ID, sig, c.All)
	}
	return matching(r, c.ID, func(id string) error {
		if err := r.Kill(id, sig, c.All); !errors.Is(err, lifecycle.ErrState) {
			return err
		}
		return nil
	})
}

type ociDelete struct {
	Force bool   `short:"f" help:"Kill the container if it runs; none is no error."`
	Regex bool   `help:"The name is a regular expression: remove all containers that match."`
	ID    string `arg:"" help:"Name of the container."`
}

func (c *ociDelete) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	if !c.Regex {
		return r.Delete(c.ID, c.Force)
	}
	return matching(r, c.ID, func(id string) error { return r.Delete(id, c.Force) })
}

// Realtime signals as programs know them: the C library keeps the kernel's first
// two to itself (signal(7)).
const sigRTMin, sigRTMax = 34, 64

// parseSignal takes a number, or a name with or without SIG, RTMIN+3 and RTMAX-3
// among them. Signal 0 asks whether the container runs.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= sigRTMax {
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	if sig, ok := realtime(name); ok {
		return sig, nil
	}
	// Other names of signal(7).
	switch name {
	case "CLD":
		return unix.SIGCHLD, nil
	case "POLL":
		return unix.SIGIO, nil
	case "UNUSED":
		return unix.SIGSYS, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

func realtime(name string) (unix.Signal, bool) {
	base, after := sigRTMin, ""
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		after = rest
	} else if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		base, after = sigRTMax, rest
	} else {
		return 0, false
	}
	if after == "" {
		return unix.Signal(base), true
	}
	n, err := strconv.Atoi(after)
	sig := base + n
	return unix.Signal(sig), err == nil && (after[0] == '+' || after[0] == '-') && sig >= sigRTMin && sig <= sigRTMax
}
