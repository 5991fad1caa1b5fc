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
	"github.com/klauspost/compress/s2"
	"golang.org/x/sys/unix"
)

// pullProgram is cmd/airplant-pull, which `make build` builds and packs first. It
// is apart for its package initialisation, which only a pull should pay for. It
// is never written, so that its pages stay those of the file.
//
//go:embed airplant-pull.bin
var pullProgram []byte

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
	if err = unpack(f); err == nil {
		err = birth.Seal(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unpack writes the program right into the file's pages.
func unpack(f *os.File) error {
	size, err := s2.DecodedLen(pullProgram)
	if err == nil {
		err = f.Truncate(int64(size))
	}
	if err != nil {
		return fmt.Errorf("unpack the carried program: %w", err)
	}
	pages, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the carried program: %w", err)
	}
	_, err = s2.Decode(pages, pullProgram)
	if err != nil {
		err = fmt.Errorf("unpack the carried program: %w", err)
	}
	return errors.Join(err, unix.Munmap(pages))
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
