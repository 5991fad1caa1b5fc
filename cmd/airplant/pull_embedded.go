//go:build embedpull

package main

import (
	_ "embed" // of the program
	"errors"
	"fmt"

	"airplant/internal/birth"
)

// pullProgram is cmd/airplant-pull, which `make build` builds first. It is apart
// for its package initialisation, which only a pull should pay for. A string is
// among what is only read, so it is never copied to memory of our own.
//
//go:embed airplant-pull.bin
var pullProgram string

// pullInWorker pulls in namespace P, by the program that this one carries.
func (e *env) pullInWorker(request string) error {
	f, err := birth.Memfd()
	if err != nil {
		return err
	}
	if _, err = f.WriteString(pullProgram); err == nil {
		err = birth.Seal(f)
	}
	if err == nil {
		err = e.enterP(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "airplant-pull", request)
	}
	return errors.Join(err, f.Close())
}

// workerCommands are commands that only the worker has.
func workerCommands() []command {
	return []command{{"remove-tree", "", func() any { return &removeTreeCmd{} }}}
}
