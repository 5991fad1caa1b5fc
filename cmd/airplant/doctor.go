package main

import (
	"context"

	"airplant/internal/doctor"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *doctorCmd) Run(e *env) error {
	lines := doctor.Judge(doctor.Gather(context.Background(), e.getenv))
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
