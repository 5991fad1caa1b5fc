package main

import (
	"errors"
	"fmt"

	"airplant/lifecycle"
)

type rmCmd struct {
	Force      bool     `short:"f" help:"End running containers first; a missing one is no error."`
	Ignore     bool     `short:"i" help:"A missing container is no error."`
	Volumes    bool     `short:"v" hidden:""`
	Containers []string `arg:"" help:"Names or ids, or the beginnings of ids."`
}

func (c *rmCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	if err := h.Sweep(e.removeAsRoot); err != nil {
		e.report(err)
	}
	var errs []error
	for _, name := range c.Containers {
		box, err := h.Find(name)
		if (c.Force || c.Ignore) && errors.Is(err, lifecycle.ErrNoBox) {
			continue
		}
		if err == nil {
			err = h.Remove(box, c.Force, e.removeAsRoot)
		}
		if errors.Is(err, lifecycle.ErrBoxRunning) {
			err = &hinted{err, "end it first, or: airplant rm -f " + name}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(e.stdout, name)
	}
	return e.several(errs)
}
