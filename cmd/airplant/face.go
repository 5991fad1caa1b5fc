package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// exitStatus is the status of a command that succeeded in its own work, and
// ends with that of a container.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// exited is an error with an exit status of its own.
type exited struct {
	error
	status int
}

func (x *exited) Unwrap() error { return x.error }

// hinted is an error with something that the user can do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// command is a subcommand of a face. Its grammar is built only when it is
// called, or for help: kong's cost grows with the grammar.
type command struct {
	name, help string
	grammar    func() any // a struct with kong's tags and a Run method
}

// face is one of the two command lines.
type face struct {
	name     string
	help     string
	globals  any      // a struct with kong's tags
	valued   []string // global flags that take a value, which may follow
	commands []command
	usage    int // status for wrong usage
}

// index finds a command, -1 if there is none of the name.
func (f *face) index(name string) int {
	return slices.IndexFunc(f.commands, func(c command) bool { return c.name == name })
}

// named finds the command's name, the first argument that is not a flag, and
// its place.
func (f *face) named(args []string) (name string, at int) {
	for n := 0; n < len(args); n++ {
		switch {
		case !strings.HasPrefix(args[n], "-"):
			return args[n], n
		case slices.Contains(f.valued, args[n]):
			n++
		}
	}
	return "", len(args)
}

// without drops a global flag of runc's that means nothing here, and has the
// name of a command's.
func (f *face) without(flag string, args []string) []string {
	for n := 0; n < len(args) && strings.HasPrefix(args[n], "-"); n++ {
		switch {
		case args[n] == flag && n+1 < len(args):
			return slices.Delete(slices.Clone(args), n, n+2)
		case strings.HasPrefix(args[n], flag+"="):
			return slices.Delete(slices.Clone(args), n, n+1)
		case slices.Contains(f.valued, args[n]):
			n++
		}
	}
	return args
}

var errNotQuick = errors.New("not a plain command line")

// quick runs a command whose line is a plain one; see [quick].
func (f *face) quick(args []string, e *env) error {
	name, at := f.named(args)
	n := f.index(name)
	if n < 0 {
		return errNotQuick
	}
	grammar, globals := f.commands[n].grammar(), reflect.New(reflect.TypeOf(f.globals).Elem())
	var q, g quick
	if !g.read(args[:at], globals.Interface()) || !q.read(args[at+1:], grammar) {
		return errNotQuick
	}
	switch c := grammar.(type) {
	case interface{ Run(*env) error }:
		reflect.ValueOf(f.globals).Elem().Set(globals.Elem())
		return c.Run(e)
	case interface{ Run(*env, *ociGlobals) error }:
		reflect.ValueOf(f.globals).Elem().Set(globals.Elem())
		return c.Run(e, f.globals.(*ociGlobals))
	}
	return errNotQuick
}

// run parses and runs a command; the status says how it ended.
func (f *face) run(args []string, e *env, report func(error), with ...any) int {
	err := f.quick(args, e)
	if errors.Is(err, errNotQuick) {
		err = f.slow(args, e, with...)
	}
	var status exitStatus
	var failed *exited
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	report(err)
	if errors.As(err, &failed) {
		return failed.status
	}
	return -1
}
