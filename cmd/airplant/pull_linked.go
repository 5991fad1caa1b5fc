//go:build !embedpull

package main

import (
	"bytes"
	"context"
	"os/signal"

	"airplant/image/errand"
	"airplant/internal/table"
	"airplant/internal/table/template"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// pullInWorker pulls in namespace P, by the puller that is linked into this
// program. What `make build` makes carries the puller as a program of its own;
// see pull_embedded.go.
func (e *env) pullInWorker(request string) error { return e.errand("pull", request) }

// errand runs what the carried program would do, in namespace P.
func (e *env) errand(verb, request string) error { return e.inWorker("errand", "--", verb, request) }

// print prints a table by its template.
func (e *env) print(t *table.Table) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return template.Read(bytes.NewReader(text), e.stdout)
}

// errandCmd is for the worker alone.
type errandCmd struct {
	Verb    string `arg:""`
	Request string `arg:""`
}

func (c *errandCmd) Run(e *env) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return errand.Run(ctx, c.Verb, []byte(c.Request), errand.World{Getenv: e.getenv, Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr})
}

// workerCommands are commands that only the worker has.
func workerCommands() []command {
	return []command{
		{"remove-tree", "", func() any { return &removeTreeCmd{} }},
		{"errand", "", func() any { return &errandCmd{} }},
	}
}
