package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"airplant/image"
	"airplant/lifecycle"
)

// version is set at build time.
var version = "0.1.0-dev"

type peopleGlobals struct {
	Version bool `help:"Print the version."`
}

// peopleFace is the command line for people.
func (e *env) peopleFace() *face {
	return &face{
		name: "airplant", help: "Run containers as a normal user.", globals: &peopleGlobals{}, usage: 125,
		commands: e.peopleCommands(),
	}
}

func (e *env) people(args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	switch args[0] {
	case "--version":
		fmt.Fprintf(e.stdout, "airplant %s\n", version)
		return 0
	case "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	f := e.peopleFace()
	if n := f.index(args[0]); n >= 0 && slices.Contains([]string{"run", "explain", "unshare"}, args[0]) {
		args = flagsFirst(args, reflect.TypeOf(f.commands[n].grammar()).Elem())
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
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(e.stderr, "airplant: hint: %s\n", hint)
	}
}

// warn prints what went wrong, or was done otherwise, without an error.
func (e *env) warn(err error) {
	fmt.Fprintf(e.stderr, "airplant: warning: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// several reports all errors but the last, and returns that one.
func (e *env) several(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	for _, err := range errs[:len(errs)-1] {
		e.report(err)
	}
	return errs[len(errs)-1]
}

// hintOf finds what the user can do about an error.
func hintOf(err error) string {
	var h *hinted
	var i *image.Error
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.As(err, &i):
		return i.Hint
	}
	return ""
}

// statusOf gives an error of a container's start the exit status that docker
// and podman use: 127 for a missing program, 126 for one that cannot be
// executed.
func statusOf(err error) error {
	var c *lifecycle.CommandError
	switch {
	case errors.As(err, &c) && errors.Is(err, fs.ErrNotExist):
		return &exited{err, 127}
	case errors.As(err, &c):
		return &exited{err, 126}
	}
	return err
}

// flagsFirst puts "--" before the first argument after a command's flags, so
// that what follows belongs to the program: `run IMAGE ls -l`. args begins with
// the command.
func flagsFirst(args []string, grammar reflect.Type) []string {
	valued := valuedFlags(grammar)
	for n := 1; n < len(args); n++ {
		a := args[n]
		switch {
		case a == "--":
			return args
		case len(a) < 2 || a[0] != '-':
			return slices.Concat(args[:n], []string{"--"}, args[n:])
		case strings.HasPrefix(a, "--"):
			if valued[a] { // not with "="
				n++
			}
		default:
			// Of -itw DIR the last letter may take a value; of -wDIR the
			// first has it.
			if k := strings.IndexFunc(a[1:], func(c rune) bool { return valued["-"+string(c)] }); k == len(a)-2 {
				n++
			}
		}
	}
	return args
}

// valuedFlags lists the flags of a grammar that take a value.
func valuedFlags(grammar reflect.Type) map[string]bool {
	valued := map[string]bool{}
	for n := range grammar.NumField() {
		f := grammar.Field(n)
		if f.Anonymous {
			maps.Copy(valued, valuedFlags(f.Type))
			continue
		}
		if _, arg := f.Tag.Lookup("arg"); arg || f.Type.Kind() == reflect.Bool || !f.IsExported() {
			continue
		}
		name := f.Tag.Get("name")
		if name == "" {
			name = kebab(f.Name)
		}
		valued["--"+name] = true
		if short := f.Tag.Get("short"); short != "" {
			valued["-"+short] = true
		}
	}
	return valued
}

// kebab is a field's name as kong spells it: EnvFile is env-file.
func kebab(name string) string {
	var b strings.Builder
	for n, c := range name {
		if n > 0 && unicode.IsUpper(c) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
