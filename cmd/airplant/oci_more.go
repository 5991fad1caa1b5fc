package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"airplant/lifecycle/plan"
)

type ociPause struct {
	ID string `arg:"" help:"Name of the container."`
}

func (c *ociPause) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Pause(c.ID)
}

type ociResume struct {
	ID string `arg:"" help:"Name of the container."`
}

func (c *ociResume) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Resume(c.ID)
}

type ociPs struct {
	Format string   `short:"f" help:"table or json." enum:"table,json" default:"table"`
	ID     string   `arg:"" help:"Name of the container."`
	Args   []string `arg:"" optional:"" help:"Options of ps; -ef without them."`
}

func (c *ociPs) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	pids, err := r.Processes(c.ID)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return json.NewEncoder(e.stdout).Encode(pids)
	}
	args := c.Args
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	out, err := exec.Command("ps", args...).Output()
	if err != nil {
		return fmt.Errorf("ps %s: %w", strings.Join(args, " "), err)
	}
	return printProcesses(e, out, pids)
}

// printProcesses prints the head of a table of ps and the lines of some pids.
func printProcesses(e *env, table []byte, pids []int) error {
	head, lines, _ := bytes.Cut(table, []byte("\n"))
	column := slices.Index(strings.Fields(string(head)), "PID")
	if column < 0 {
		return fmt.Errorf("ps printed no column PID")
	}
	fmt.Fprintf(e.stdout, "%s\n", head)
	for line := range bytes.Lines(lines) {
		f := strings.Fields(string(line))
		if len(f) <= column {
			continue
		}
		if pid, err := strconv.Atoi(f[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Fprintf(e.stdout, "%s", line)
		}
	}
	return nil
}

type ociFeatures struct{}

func (c *ociFeatures) Run(e *env) error {
	f := plan.Features()
	f.Annotations = map[string]string{"airplant.version": version}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(append(text, '\n'))
	return err
}
