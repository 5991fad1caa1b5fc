// Command airplant runs OCI containers as a normal user.
//
// It has two faces: `airplant` for people, and `airplant oci`, or the names
// airplant-oci, runc and crun, for engines, with runc's command line.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"airplant/internal/hello"
	"airplant/internal/sys"
	"airplant/lifecycle"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// env is what commands know of the outside.
type env struct {
	args    []string
	stdin   *os.File
	stdout  io.Writer
	stderr  io.Writer
	getenv  func(string) string
	environ []string

	started time.Time
	exe     string // our file, where that is not what we run from
	// loadSpec reads a bundle's configuration, perhaps ahead of being asked.
	loadSpec func(bundle string) (*specs.Spec, error)
	worker   bool // we are in namespace P, under the name workerName
}

// handedOver is the variable by which the small program tells the whole one its
// start, in nanoseconds of unix time, and its path.
const handedOver = "AIRPLANT_HANDED_OVER"

func main() {
	sys.GrowStack()
	e := &env{args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, started: time.Now()}
	if err := e.adopt(); err != nil {
		e.report(err)
		os.Exit(125)
	}
	e.environ = os.Environ()
	os.Exit(e.main())
}

// main chooses by the name that we are called by.
func (e *env) main() int {
	if status, ok := e.named(); ok {
		return status
	}
	switch filepath.Base(e.args[0]) {
	case "airplant-oci", "runc", "crun":
		return e.oci(e.args[1:])
	case workerName:
		e.worker = true
	}
	if len(e.args) > 1 && e.args[1] == "oci" {
		return e.oci(e.args[2:])
	}
	return e.people(e.args[1:])
}

// builtIn acts as a program that we are in a container, or in another
// namespace.
func (e *env) builtIn() (status int, ok bool) {
	var err error
	switch filepath.Base(e.args[0]) {
	case hello.Name:
		if err = hello.Report(e.stdout, e.getenv); err != nil {
			e.report(err)
		}
	case lifecycle.CopyUpName:
		if err = lifecycle.CopyUp(os.Stdin, os.Stdout); err != nil {
			fmt.Fprint(e.stderr, err)
		}
	default:
		return 0, false
	}
	if err != nil {
		status = 1
	}
	return status, true
}

// self is our file.
func (e *env) self() (string, error) {
	if e.exe != "" {
		return e.exe, nil
	}
	return os.Executable()
}
