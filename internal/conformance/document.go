package main

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// printResult prints one line, and a further one for each failure.
func printResult(out io.Writer, subjects []subject, r result) {
	fmt.Fprintf(out, "%-30s", r.program)
	for i, v := range r.verdicts {
		fmt.Fprintf(out, " %s=%s", subjects[i].Name, v.mark)
	}
	fmt.Fprintln(out)
	for i, v := range r.verdicts {
		if v.why != "" {
			fmt.Fprintf(out, "    %s: %s\n", subjects[i].Name, v.why)
		}
	}
}

func summary(subjects []subject, results []result) string {
	var parts []string
	for i, s := range subjects {
		n := 0
		for _, r := range results {
			if r.verdicts[i].mark == markPass {
				n++
			}
		}
		parts = append(parts, fmt.Sprintf("%s %s passes %d", s.Name, s.Version, n))
	}
	return fmt.Sprintf("Of %d programs %s.", len(results), strings.Join(parts, ", "))
}

// unexplained are the programs that airplant fails and no note explains.
func unexplained(results []result) []string {
	explained := notes()
	var names []string
	for _, r := range results {
		mark := r.verdicts[0].mark
		if (mark == markFail || mark == markHang) && explained[r.program] == "" {
			names = append(names, r.program)
		}
	}
	return names
}

const preface = `# Conformance

` + "`make conformance`" + ` runs the validation programs of
github.com/opencontainers/runtime-tools v0.9.0, the last version there is, as root
with airplant and with the crun and runc that are installed. This page is written by
` + "`make conformance CONFORMANCEFLAGS='-update docs/conformance.md'`" + `.

%s On %s.

## How to read it

- A program passes if it ends within a minute with status 0, its plan is
  fulfilled, and no test of it fails. Tests marked TODO or SKIP do not count.
- Seven programs print no test at all and report a failure as a remark in front of the
  plan 1..0. A TAP harness takes that for a pass; here it is a failure.
- Programs that pass when a container is refused count only if the runtime
  passes "default".
- Each runs in a mount and a pid namespace of its own. It sees cgroup version 2
  alone, in a cgroup namespace; those marked v1 see version 1 alone, because they read
  files of version 1 and answer "unimplemented" to all else.
- "rootless" is airplant as root of a user namespace of 65536 ids that are nobody's,
  with a delegated cgroup: as under podman, rootlesskit or BuildKit. Two programs give
  their containers all capabilities; where root has not got them, all run there, and
  they are marked (user).
- crun has --cgroup-manager=disabled in the view of version 2 where root has no
  CAP_SYS_RESOURCE, without which this version creates no container.
- runtimetest is built without the code by which Go, since 1.19, raises the soft limit
  of open files: it would read what Go has set, not the runtime.
- The suite is from 2019 and speaks of version 1.0 of the specification.
`

// document is the page for docs.
func document(host string, subjects []subject, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, summary(subjects, results), host)
	b.WriteString("\n## Results\n\n| program |")
	rule := "|---|"
	for _, s := range subjects {
		fmt.Fprintf(&b, " %s %s |", s.Name, s.Version)
		rule += "---|"
	}
	b.WriteString(" note |\n" + rule + "---|\n")
	explained := notes()
	for _, r := range results {
		name := r.program
		switch {
		case viewOf(name) == viewV1:
			name += " (v1)"
		case wantsAll(name) && !hasCapability(unix.CAP_SYS_RESOURCE):
			name += " (user)"
		}
		fmt.Fprintf(&b, "| %s |", name)
		for _, v := range r.verdicts {
			fmt.Fprintf(&b, " %s |", v.mark)
		}
		fmt.Fprintf(&b, " %s |\n", explained[r.program])
	}
	return b.String()
}
