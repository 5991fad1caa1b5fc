//go:build !small

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"airplant/lifecycle"
	"airplant/userns"
)

type systemResetCmd struct {
	Force bool `short:"f" help:"Do not ask."`
}

func (c *systemResetCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	if e.worker {
		return resetAll(h)
	}
	if !c.Force {
		if !lifecycle.IsTerminal(e.stdin) {
			return errors.New("removes all images and containers; say -f without a terminal to ask on")
		}
		fmt.Fprintf(e.stdout, "remove all images and containers below %s? [y/N] ", h.Data)
		var answer string
		if _, err := fmt.Fscanln(e.stdin, &answer); err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
			return errors.New("nothing was removed")
		}
	}
	if err := h.Sweep(e.removeAsRoot); err != nil {
		return err
	}
	if live, err := h.Live(); err != nil || len(live) > 0 {
		return errors.Join(err, fmt.Errorf("%d containers run; end them first", len(live)))
	}
	id, err := identity()
	if err != nil {
		return err
	}
	if id.Rung == userns.OneID {
		return resetAll(h)
	}
	return e.inWorker("system", "reset", "--force")
}

func resetAll(h lifecycle.Home) error {
	if err := os.RemoveAll(h.Data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
