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

	"airplant/internal/doctor"
	"airplant/internal/hello"
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
	// loadSpec reads a bundle's configuration, perhaps ahead of being asked.
	loadSpec func(bundle string) (*specs.Spec, error)
	worker   bool // we are in namespace P, under the name workerName
}

func main() {
	e := &env{args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ(), started: time.Now()}
	os.Exit(e.main())
}

// main chooses by the name that we are called by.
func (e *env) main() int {
	switch name := filepath.Base(e.args[0]); name {
	case doctor.ProbeName:
		return doctor.RunProbe(e.args, e.stdin, e.stdout)
	case hello.Name:
		if err := hello.Report(e.stdout, e.getenv); err != nil {
			e.report(err)
			return 1
		}
		return 0
	case "airplant-oci", "runc", "crun":
		return e.oci(e.args[1:])
	case lifecycle.CopyUpName:
		if err := lifecycle.CopyUp(os.Stdin, os.Stdout); err != nil {
			fmt.Fprint(e.stderr, err)
			return 1
		}
		return 0
	case workerName:
		e.worker = true
	}
	if len(e.args) > 1 && e.args[1] == "oci" {
		return e.oci(e.args[2:])
	}
	return e.people(e.args[1:])
}
