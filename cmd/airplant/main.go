// Command airplant runs OCI containers as a normal user.
//
// It has two faces: `airplant` for people, and `airplant oci`, or the names
// airplant-oci, runc and crun, for engines, with runc's command line.
package main

import (
	"io"
	"os"
)

// env is what commands know of the outside.
type env struct {
	args   []string
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
}

func main() {
	e := &env{args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	os.Exit(e.main())
}
