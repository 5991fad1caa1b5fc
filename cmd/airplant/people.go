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

	"github.com/alecthomas/kong"
)

// version is set at build time.
var version = "0.1.0-dev"

type peopleGlobals struct {
	Version peopleVersion `help:"Print the version."`
}

type peopleVersion bool

// BeforeReset prints the version before anything else is looked at.
func (peopleVersion) BeforeReset(ctx *kong.Context) error {
	fmt.Fprintf(ctx.Stdout, "airplant %s\n", version)
	ctx.Exit(0)
	return nil
}

// peopleFace is the command line for people.
func (e *env) peopleFace() *face {
	f := &face{
		name: "airplant", help: "Run containers as a normal user.", globals: &peopleGlobals{}, usage: 125,
		commands: []command{
			{"run", "Run a program in a new container.", func() any { return &runCmd{} }},
			{"pull", "Get an image into the store.", func() any { return &pullCmd{} }},
			{"login", "Log in to a registry.", func() any { return &loginCmd{} }},
			{"logout", "Log out of a registry.", func() any { return &logoutCmd{} }},
			{"images", "List the images of the store.", func() any { return &imagesCmd{} }},
			{"rmi", "Remove images from the store.", func() any { return &rmiCmd{} }},
			{"tag", "Give an image a further name.", func() any { return &tagCmd{} }},
			{"inspect", "Print all about images, as JSON or by a template.", func() any { return &inspectCmd{} }},
			{"history", "Tell how an image was made.", func() any { return &historyCmd{} }},
			{"manifest", "Look at manifests and indexes.", func() any { return &manifestCmd{} }},
			{"push", "Write an image to a registry.", func() any { return &pushCmd{} }},
			{"save", "Write images to an archive or a directory.", func() any { return &saveCmd{} }},
			{"load", "Get images from an archive or a directory.", func() any { return &loadCmd{} }},
			{"import", "Make an image of a root filesystem in a tar.", func() any { return &importCmd{} }},
			{"export", "Write the files of a container or an image as a tar.", func() any { return &exportCmd{} }},
			{"commit", "Make an image of what a container has changed.", func() any { return &commitCmd{} }},
			{"diff", "List what a container or an image has changed.", func() any { return &diffCmd{} }},
			{"rm", "Remove containers.", func() any { return &rmCmd{} }},
			{"prune", "Remove what no image and no container needs.", func() any { return &pruneCmd{} }},
			{"explain", "Print the system calls that a container is made of.", func() any { return &explainCmd{} }},
			{"doctor", "Tell what this host allows.", func() any { return &doctorCmd{} }},
			{"unshare", "Run a program with the ids of our files.", func() any { return &unshareCmd{} }},
			{"system", "Manage all images and containers.", func() any { return &systemCmd{} }},
			{"oci", "The command line for engines; see `airplant oci --help`.", func() any { return &struct{}{} }},
		},
	}
	if e.worker {
		f.commands = append(f.commands, workerCommands()...)
	}
	return f
}

func (e *env) people(args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	f := e.peopleFace()
	if len(args) > 0 && slices.Contains([]string{"run", "explain", "unshare"}, args[0]) {
		args = flagsFirst(args, reflect.TypeFor[explainCmd]())
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
