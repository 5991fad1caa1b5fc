//go:build embedpull

package main

import (
	"bytes"
	_ "embed" // of the program
	"errors"
	"fmt"
	"os"
	"os/exec"

	"airplant/internal/birth"
	"airplant/internal/table"

	"github.com/go-json-experiment/json"
)

// pullProgram is cmd/airplant-pull, which `make build` builds first. It is apart
// for its package initialisation, which only a pull should pay for. A string is
// among what is only read, so it is never copied to memory of our own.
//
//go:embed airplant-pull.bin
var pullProgram string

// pullInWorker pulls in namespace P, by the program that this one carries.
func (e *env) pullInWorker(request string) error { return e.errand("pull", request) }

// errand runs the carried program in namespace P.
func (e *env) errand(verb, request string) error {
	f, err := carried()
	if err != nil {
		return err
	}
	err = e.enterP(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "airplant-pull", verb, request)
	return errors.Join(err, f.Close())
}

// carried is the program that this one carries, as a file.
func carried() (*os.File, error) {
	f, err := birth.Memfd()
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteString(pullProgram); err == nil {
		err = birth.Seal(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// print prints a table by its template.
func (e *env) print(t *table.Table) error {
	f, err := carried()
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	cmd.Args = []string{"airplant-pull", "format"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(text), e.stdout, e.stderr, e.environ
	var failed *exec.ExitError
	if err = cmd.Run(); errors.As(err, &failed) {
		err = exitStatus(failed.ExitCode()) // it has said why
	}
	return err
}

// workerCommands are commands that only the worker has.
func workerCommands() []command {
	return []command{{"remove-tree", "", func() any { return &removeTreeCmd{} }}}
}
