package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// version is set at build time.
var version = "0.1.0-dev"

type peopleGlobals struct {
	Version peopleVersion `help:"Print the version." short:"v"`
}

type peopleVersion bool

// BeforeReset prints the version before anything else is looked at.
func (peopleVersion) BeforeReset(ctx *kong.Context) error {
	fmt.Fprintf(ctx.Stdout, "airplant %s\n", version)
	ctx.Exit(0)
	return nil
}

func (e *env) people(args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	f := &face{
		name: "airplant", help: "Run containers as a normal user.", globals: &peopleGlobals{}, usage: 125,
		commands: []command{
			{"explain", "Print the system calls that a container is made of.", func() any { return &explainCmd{} }},
			{"oci", "The command line for engines; see `airplant oci --help`.", func() any { return &struct{}{} }},
		},
	}
	status := f.run(args, e, e.report)
	if status < 0 {
		return 125
	}
	return status
}

// report prints an error and its hint.
func (e *env) report(err error) {
	fmt.Fprintf(e.stderr, "airplant: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(e.stderr, "airplant: hint: %s\n", h.hint)
	}
}
