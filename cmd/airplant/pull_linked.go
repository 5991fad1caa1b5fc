//go:build !embedpull

package main

import (
	"context"
	"os/signal"

	"airplant/image"
	"airplant/image/puller"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// pullInWorker pulls in namespace P, by the puller that is linked into this
// program. What `make build` makes carries the puller as a program of its own;
// see pull_embedded.go.
func (e *env) pullInWorker(request string) error { return e.inWorker("pull-request", "--", request) }

// pullRequestCmd is for the worker alone.
type pullRequestCmd struct {
	Request string `arg:""`
}

func (c *pullRequestCmd) Run(e *env) error {
	var r image.Request
	if err := json.Unmarshal([]byte(c.Request), &r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return puller.Run(ctx, r, e.getenv, e.stdout, e.stderr)
}

// workerCommands are commands that only the worker has.
func workerCommands() []command {
	return []command{
		{"remove-tree", "", func() any { return &removeTreeCmd{} }},
		{"pull-request", "", func() any { return &pullRequestCmd{} }},
	}
}
