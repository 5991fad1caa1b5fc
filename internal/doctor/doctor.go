// Package doctor says what this host allows a container to be made of, one
// line a subject, with a command to paste where something is missing.
//
//	Gather: try it on the host -> Facts -> Judge: pure -> []Line -> Print
//
// [Gather] tries things rather than asking for versions: a kernel may have a
// feature and an outer container, a security module or a sysctl may refuse it.
// What only works with the capabilities of a new user namespace is tried in
// one, by a copy of this program that is started under the name [ProbeName]
// and ends as soon as it has answered, so nothing it mounts or makes is seen
// by others or stays. The one thing written on the host is a temporary
// directory below the store's, for overlayfs.
//
// [Judge] has no side effects, so that every kind of host can be a test.
//
// It does not repair anything, it does not look for peers' programs except
// newuidmap and newgidmap, and it does not know what one container will ask
// for. Known hazard: answers hold for this process, on this host, now; an
// engine started by systemd may be allowed more or less than a shell is.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Status grades a line.
type Status string

// A missing thing is not there at all. A degraded one leaves a worse way, which
// the line names.
const (
	OK       Status = "ok"
	Degraded Status = "degraded"
	Missing  Status = "missing"
)

// Line is the verdict on one subject.
type Line struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Text is what was found, and what follows from it.
	Text string `json:"text"`
	// Fix is a command to paste, or empty.
	Fix string `json:"fix,omitempty"`
	// Blocks is set when no container runs before this is repaired.
	Blocks bool `json:"blocks,omitempty"`
}

// CanRun reports whether containers can run at all.
func CanRun(lines []Line) bool {
	for _, l := range lines {
		if l.Blocks {
			return false
		}
	}
	return true
}

// ExitStatus is what a command that prints lines exits with: 0 when containers
// can run, 1 when they cannot.
func ExitStatus(lines []Line) int {
	if CanRun(lines) {
		return 0
	}
	return 1
}

// Print writes the lines as a table, each fix below its line, and a summary.
func Print(w io.Writer, lines []Line) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%s\n", l.Status, l.Name, l.Text)
		if l.Fix != "" {
			fmt.Fprintf(table, "\t\tfix: %s\n", l.Fix)
		}
	}
	fmt.Fprintln(table, summary(lines))
	return table.Flush()
}

func summary(lines []Line) string {
	var blocked, worse []string
	for _, l := range lines {
		switch {
		case l.Blocks:
			blocked = append(blocked, l.Name)
		case l.Status != OK:
			worse = append(worse, l.Name)
		}
	}
	switch {
	case len(blocked) > 0:
		return "containers cannot run here: " + strings.Join(blocked, ", ")
	case len(worse) > 0:
		return "containers run here, with less: " + strings.Join(worse, ", ")
	}
	return "containers run here, with everything"
}

// PrintJSON writes the lines for machines.
func PrintJSON(w io.Writer, lines []Line) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		CanRun bool   `json:"canRun"`
		Lines  []Line `json:"lines"`
	}{CanRun(lines), lines})
}
