// Command bench runs airplant and every installed peer side by side and prints
// medians and ratios. `make bench` calls it with bin/airplant built.
//
// What is measured is what a caller waits for: the wall time of whole
// processes, from the spawn to the exit, the exit status of each checked. The
// subjects of a case take turns within one run, in a new random order every
// round, since on a shared machine only ratios of neighbours mean anything,
// and since the kernel tears the namespaces of one container down while the
// next one starts.
//
//	root:        stage files -> new mount namespace -> drop to airplant-test -> measure
//	normal user: stage files -> measure
//
// The mount namespace gets a cgroup2 file system on /sys/fs/cgroup where the
// host has the hybrid or the old layout, because crun refuses the hybrid one.
// All subjects see the same.
//
// It does not measure throughput, and it does not say which number is good:
// the aims are in the documentation, the ratios are here. A peer that is
// missing is named; a run that exits non-zero ends its subject's case, is
// printed, and makes bench exit with status 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// options is the command line of bench.
type options struct {
	rounds   int
	warmup   int
	airplant string
	account  string
	image    string
	jsonFile string
	list     bool
	cases    []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	var child *exec.ExitError // it has said why
	if errors.As(err, &child) {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(usage)
	set.IntVar(&o.rounds, "n", 50, "timed runs of each subject")
	set.IntVar(&o.warmup, "warmup", 5, "runs before the clock counts")
	set.StringVar(&o.airplant, "airplant", "bin/airplant", "the binary under test")
	set.StringVar(&o.account, "account", "airplant-test", "the account that root drops to")
	set.StringVar(&o.image, "image", "", "OCI layout `dir` for run-image (a busybox one is made if empty)")
	set.StringVar(&o.jsonFile, "json", "", "also write the results to this `file`")
	set.BoolVar(&o.list, "list", false, "list the cases and exit")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.cases = set.Args()
	if o.rounds < 1 || o.warmup < 0 {
		return o, errors.New("-n must be at least 1 and -warmup at least 0")
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 2 && args[0] == droppedArg {
		return runDropped(ctx, args[1], out)
	}
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if o.list {
		for _, c := range allCases() {
			fmt.Fprintf(out, "%-24s %s\n", c.name, c.what)
		}
		return nil
	}
	chosen, err := choose(allCases(), o.cases)
	if err != nil {
		return err
	}
	s, err := newStage(ctx, o)
	if err != nil {
		return err
	}
	defer s.remove()
	var records io.Writer
	if o.jsonFile != "" {
		file, err := os.Create(o.jsonFile)
		if err != nil {
			return err
		}
		defer file.Close()
		records = file
	}
	if os.Geteuid() == 0 {
		return s.handOver(ctx, records, out)
	}
	return measureAll(ctx, s, chosen, outputs{text: out, records: records})
}

// choose returns the cases with the given names, or all.
func choose(all []benchCase, names []string) ([]benchCase, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []benchCase
	for _, name := range names {
		found := false
		for _, c := range all {
			if c.name == name {
				chosen = append(chosen, c)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("no case %q: -list shows them", name)
		}
	}
	return chosen, nil
}

// outputs is where the results go, and who helps to get them.
type outputs struct {
	text    io.Writer
	records io.Writer     // nil without -json
	root    io.ReadWriter // see serveMemory; nil without root
}

func measureAll(ctx context.Context, s *stage, cases []benchCase, to outputs) error {
	b, err := newBench(s)
	if err != nil {
		return err
	}
	defer b.close()
	b.root = to.root
	fmt.Fprintln(to.text, b.hostLine())
	var results []Result
	var failed []string
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return err
		}
		got := b.runCase(ctx, c)
		printCase(to.text, c, got)
		for _, r := range got {
			if r.Status == statusFailed {
				failed = append(failed, r.Case+" "+r.Subject)
			}
		}
		results = append(results, got...)
	}
	if to.records != nil {
		if err := writeJSON(to.records, b.hostLine(), results); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d subjects did not run: %s", len(failed), strings.Join(failed, ", "))
	}
	return nil
}
