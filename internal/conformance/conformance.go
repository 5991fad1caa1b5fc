// Command conformance runs the validation programs of the public suite
// github.com/opencontainers/runtime-tools with airplant and with every
// installed peer, and compares. `make conformance` calls it with bin/airplant
// built.
//
// The programs come from the module proxy, with the versions in
// .ci/conformance.mod, which is no part of the module's own go.mod. They are
// built unchanged; see build.go for the one thing that is taken out of Go.
//
//	program x runtime -> a cgroup, namespaces, a view of cgroups -> TAP -> verdict
//
// Every run has a mount and a pid namespace of its own (see inside.go), so
// that what hangs or is left behind ends with it. Programs see cgroup version
// 2 alone, and those that know nothing but version 1 see that alone.
//
// It needs root, as the suite does, and does not install the peers: one that is
// missing has an empty column. The exit status is 1 if airplant fails a
// program that notes.go does not explain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	airplant string
	jobs     int
	timeout  time.Duration
	document string // written if not empty
	output   string // directory for what the programs print
	programs []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "conformance: error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("conformance", flag.ContinueOnError)
	set.SetOutput(usage)
	set.StringVar(&o.airplant, "airplant", "bin/airplant", "the binary under test")
	set.IntVar(&o.jobs, "jobs", 3, "programs at a time; most of them wait")
	set.DurationVar(&o.timeout, "timeout", time.Minute, "after which a program hangs")
	set.StringVar(&o.document, "update", "", "write the table to this `file` (docs/conformance.md)")
	set.StringVar(&o.output, "output", "", "keep what the programs print in this `dir`")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.programs = set.Args()
	if o.jobs < 1 || o.timeout <= 0 {
		return o, errors.New("-jobs and -timeout must be positive")
	}
	if o.document != "" && len(o.programs) > 0 {
		return o, errors.New("-update is for a run of all programs")
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 2 && args[0] == insideArg {
		return runInside(args[1])
	}
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("the suite makes containers without a user namespace: it needs root")
	}
	dir, err := os.MkdirTemp("", "airplant-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s, err := buildSuite(ctx, filepath.Join(dir, "suite"), o.programs)
	if err != nil {
		return err
	}
	// A checkout is often below root's home directory.
	airplant := filepath.Join(dir, "airplant")
	if err := copyProgram(airplant, o.airplant); err != nil {
		return err
	}
	subjects, err := findSubjects(ctx, airplant)
	if err != nil {
		return err
	}
	results, err := runAll(ctx, dir, o, s, subjects)
	if err != nil {
		return err
	}
	for _, r := range results {
		printResult(out, subjects, r)
	}
	fmt.Fprintln(out, summary(subjects, results))
	if o.document != "" {
		text := document(host(), subjects, results)
		if err := os.WriteFile(o.document, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if names := unexplained(results); len(names) > 0 {
		return fmt.Errorf("airplant fails without a note: %s", strings.Join(names, ", "))
	}
	return nil
}

// host names the machine the way the table does.
func host() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return runtime.GOARCH
	}
	var release []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	version, _, _ := strings.Cut(string(release), "-")
	return "Linux " + version + ", " + runtime.GOARCH
}
