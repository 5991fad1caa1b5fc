//go:build !small

package main

import (
	"context"

	"airplant/internal/doctor"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *doctorCmd) Run(e *env) error {
	facts := doctor.Gather(context.Background(), e.getenv)
	if e.exe != "" {
		facts.Caller.Exe = e.exe
	}
	lines := doctor.Judge(facts)
	write := doctor.Print
	if c.JSON {
		write = doctor.PrintJSON
	}
	if err := write(e.stdout, lines); err != nil {
		return err
	}
	if status := doctor.ExitStatus(lines); status != 0 {
		return exitStatus(status)
	}
	return nil
}
