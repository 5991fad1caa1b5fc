package main_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/testenv"
)

var update = flag.Bool("update", false, "write docs/states.md")

// statesPage is the table that TestStates writes and compares.
const statesPage = "../../docs/states.md"

// columns are the runtimes of the table.
var columns = []string{"runc", "as root", "as a user"}

// outcome is what a verb came to.
type outcome struct {
	status int
	said   string // for a failure
	state  string // afterwards
}

// String is a cell of the table.
func (o outcome) String() string {
	if o.status == -1 {
		return "hangs"
	}
	if o.status != 0 {
		return fmt.Sprintf("%d %s", o.status, o.said)
	}
	return "0, " + o.state
}

// results are outcomes by column, verb and state.
type results map[[3]string]outcome

// TestStates tries every verb in every state, beside runc, and compares with
// the page in docs. Only `go test ./cmd/airplant -run TestStates -update`, as
// root, tries runc, which takes its time, and writes the page.
func TestStates(t *testing.T) {
	got := results{}
	program := testenv.Binary(t)
	user := testenv.Subids(t)
	got.try(newSubject(t, user, program, "oci"), "as a user", false)
	if os.Geteuid() == 0 {
		root := testenv.User{Name: "root", Home: "/"}
		got.try(newSubject(t, root, program, "oci"), "as root", false)
	}
	if *update {
		testenv.Need(t, "runc")
		path, err := exec.LookPath("runc")
		if err != nil {
			t.Fatal(err)
		}
		version, err := exec.Command(path, "--version").Output()
		if err != nil {
			t.Fatal(err)
		}
		runc, _, _ := strings.Cut(string(version), "\n")
		got.try(newSubject(t, testenv.User{Name: "root", Home: "/"}, path), "runc", true)
		if len(got) != len(stateVerbs)*len(states)*len(columns) {
			t.Fatal("only root can write the page")
		}
		if err := os.WriteFile(statesPage, []byte(got.page(runc)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written := results{}
	written.read(t)
	got.compare(t, written)
	written.explained(t)
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(statesPage)
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(text)
}

// try tries all verbs in all states of a runtime. A container serves until a
// verb changes it.
func (r results) try(s *subject, column string, peer bool) {
	s.letGo()
	for _, state := range states {
		s.bring(state)
		for _, v := range stateVerbs {
			o, same := s.attempt(v.args)
			r[[3]string{column, v.name, state}] = o
			if o.status != 0 && !same && !peer {
				s.t.Errorf("%s: %s of a container that is %s is refused (%s), and changes something", column, v.name, state, o.said)
			}
			if o.status == -1 && !peer {
				s.t.Errorf("%s: %s of a container that is %s hangs", column, v.name, state)
			}
			if !same || o.status == 0 && o.state != state {
				s.leave()
				s.bring(state)
			}
		}
		s.leave()
	}
}

// attempt tries one verb, and tells whether all is as before.
func (s *subject) attempt(line []string) (outcome, bool) {
	var args []string
	for _, a := range line {
		args = append(args, strings.NewReplacer("BUNDLE", s.bundle, "SCRATCH", s.scratch, "IMAGES", s.images, "ID", s.id).Replace(a))
	}
	before := s.traces()
	status, said := s.verb(args...)
	o := outcome{status: status}
	if status != 0 {
		o.said = s.gist(said)
	}
	if status == 0 && line[0] == "kill" {
		o.state = s.settled("stopped")
	} else {
		o.state = s.state()
	}
	same := s.traces() == before
	_ = os.Remove(filepath.Join(s.scratch, "config.json"))
	return o, same
}

// gist is the last line of what a command said, without what differs from run
// to run.
func (s *subject) gist(said string) string {
	list := strings.Split(strings.TrimSpace(said), "\n")
	line := list[len(list)-1]
	if m := regexp.MustCompile(`msg="(.*)"$`).FindStringSubmatch(line); m != nil {
		line = strings.ReplaceAll(m[1], `\"`, `"`)
	}
	line = strings.TrimPrefix(line, "airplant: error: ")
	line = strings.NewReplacer(filepath.Dir(s.bundle), "…", `\n`, "", "|", "¦", "<", "‹", ">", "›").Replace(line)
	return regexp.MustCompile(`\bs\d+\b`).ReplaceAllString(line, "ID")
}

const statesHead = `# Every verb in every state

Written by the test that tries them (TestStates in cmd/airplant): the exit status,
and the state afterwards or what the command said. A verb that is refused changes
nothing: no state, no process, no file. The peer is

%s, as root on a host with cgroup version 1.

In the state creating a createRuntime hook keeps ` + "`create`" + ` from its end.
`

// page is the text of the page.
func (r results) page(runc string) string {
	var b strings.Builder
	fmt.Fprintf(&b, statesHead, runc)
	for _, v := range stateVerbs {
		fmt.Fprintf(&b, "\n## %s\n\n| state | runc | as root | as a user | note |\n|---|---|---|---|---|\n", v.name)
		for _, state := range states {
			b.WriteString(r.row(v.name, state) + "\n")
		}
	}
	return b.String()
}

func (r results) row(verb, state string) string {
	line := "| " + state + " |"
	for _, c := range columns {
		line += " " + r[[3]string{c, verb, state}].String() + " |"
	}
	return line + " " + stateNotes[verb+", "+state] + " |"
}

// read reads the page.
func (r results) read(t *testing.T) {
	t.Helper()
	verb := ""
	for line := range strings.Lines(page(t)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			verb = strings.TrimSpace(name)
		}
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 3+len(columns)+1 || strings.Contains(line, "---") || strings.Contains(line, "| runc |") {
			continue
		}
		for n, c := range columns {
			r[[3]string{c, verb, strings.TrimSpace(cells[1])}] = parseOutcome(strings.TrimSpace(cells[2+n]))
		}
	}
}

func parseOutcome(cell string) outcome {
	if state, ok := strings.CutPrefix(cell, "0, "); ok {
		return outcome{state: state}
	}
	status, said, _ := strings.Cut(cell, " ")
	n, err := strconv.Atoi(status)
	if err != nil {
		n = -1
	}
	return outcome{status: n, said: said}
}

// compare compares what was tried with the page, cell by cell.
func (r results) compare(t *testing.T, written results) {
	t.Helper()
	for key, o := range r {
		if want, ok := written[key]; !ok || o.String() != want.String() {
			t.Errorf("%s %s, %s: %s, and docs/states.md has: %s", key[0], key[1], key[2], o, want)
		}
	}
}

// explained wants a note where airplant and runc differ in status or state, and
// none elsewhere.
func (r results) explained(t *testing.T) {
	t.Helper()
	for _, v := range stateVerbs {
		for _, state := range states {
			peer := r[[3]string{"runc", v.name, state}]
			differ := false
			for _, c := range columns[1:] {
				o := r[[3]string{c, v.name, state}]
				differ = differ || o.status != peer.status || o.state != peer.state
			}
			if _, noted := stateNotes[v.name+", "+state]; noted != differ {
				t.Errorf("%s, %s: differs from runc: %v, is explained: %v", v.name, state, differ, noted)
			}
		}
	}
}
