//go:build !small

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"airplant/image/errand"
	"airplant/internal/doctor"
	"airplant/internal/table"
	"airplant/internal/table/template"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// adopt takes over from the small program, where that has handed over to us:
// since when it has run, and its file, since ours has no path.
func (e *env) adopt() error {
	value := e.getenv(handedOver)
	if value == "" {
		return nil
	}
	since, self, _ := strings.Cut(value, ":")
	ns, err := strconv.ParseInt(since, 10, 64)
	if err != nil {
		return fmt.Errorf("variable %s: %w", handedOver, err)
	}
	e.started, e.exe = time.Unix(0, ns), self
	return os.Unsetenv(handedOver)
}

// named acts as another program, if we are called by its name.
func (e *env) named() (status int, ok bool) {
	if len(e.args) > 0 && e.args[0] == doctor.ProbeName {
		return doctor.RunProbe(e.args, e.stdin, e.stdout), true
	}
	return e.builtIn()
}

// errand runs an errand in namespace P, where 0 is the caller and the other ids
// are its subordinate ones.
func (e *env) errand(verb, request string) error { return e.inWorker(errandArgs(verb, request)[1:]...) }

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

// print prints a table by its template.
func (e *env) print(t *table.Table) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return template.Read(bytes.NewReader(text), e.stdout)
}
