package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"airplant/internal/testenv"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a story waits for something that should come at once.
const patience = 60 * time.Second

// story is what the verbs of one story share.
type story struct {
	t       testing.TB
	work    string   // its folder
	runtime string   // its XDG_RUNTIME_DIR
	program string   // airplant
	vars    []string // names of the variables it began with
	// A console socket and the terminal that came through it.
	masters chan received
	master  *pty
}

type storyKey struct{}

func itoa(n int) string { return strconv.Itoa(n) }

func name(variable string) string {
	before, _, _ := strings.Cut(variable, "=")
	return before
}

// environ is the environment that the story has by now.
func (s *story) environ(ts *testscript.TestScript) []string {
	var env []string
	for _, v := range s.vars {
		env = append(env, v+"="+ts.Getenv(v))
	}
	return env
}

// look finds a program in the story's PATH.
func (s *story) look(ts *testscript.TestScript, program string) string {
	if strings.Contains(program, "/") {
		return ts.MkAbs(program)
	}
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return found
		}
	}
	ts.Fatalf("%s is not in PATH", program)
	return ""
}

func (s *story) need(_ *testscript.TestScript, args []string) { testenv.Need(s.t, args...) }

// tun opens the device, since its mode may promise what a security module or
// the kernel's configuration refuses.
func (s *story) tun(ts *testscript.TestScript, _ []string) {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		testenv.Skip(s.t, err.Error())
	}
	ts.Check(f.Close())
}

// podman configures podman to use us, with all that it keeps in the story's
// folder: not to meet the user's own containers.
func (s *story) podman(ts *testscript.TestScript, _ []string) {
	for name, text := range map[string]string{
		"CONTAINERS_CONF": `[containers]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "airplant"
[engine.runtimes]
airplant = ["` + s.program + `-oci"]
`,
		"CONTAINERS_STORAGE_CONF": `[storage]
driver = "vfs"
graphroot = "` + filepath.Join(s.work, "storage") + `"
runroot = "` + filepath.Join(s.runtime, "storage") + `"
`,
	} {
		file := filepath.Join(s.work, "home", name)
		ts.Check(os.WriteFile(file, []byte(text), 0o644))
		ts.Setenv(name, file)
		s.vars = append(s.vars, name)
	}
}

func (s *story) debian(ts *testscript.TestScript, _ []string) { ts.Setenv("DEBIAN", debian(s.t)) }

// run runs a command and returns its exit status.
func (s *story) run(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(s.look(ts, args[0]), args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func (s *story) exits(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := s.run(ts, args[1:]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// refuses also sees that the refused command has left nothing.
func (s *story) refuses(ts *testscript.TestScript, args []string) {
	why, err := regexp.Compile(`^airplant: error: .*(` + args[0] + `).*\n$`)
	ts.Check(err)
	before := s.containers(ts)
	status := s.run(ts, args[1:])
	if out := ts.ReadFile("stdout"); status != 1 || out != "" {
		ts.Fatalf("exit status %d, standard output %q, want 1 and nothing", status, out)
	}
	if got := ts.ReadFile("stderr"); !why.MatchString(got) {
		ts.Fatalf("not one line that matches %s", why)
	}
	if after := s.containers(ts); !slices.Equal(before, after) {
		ts.Fatalf("containers before %v, after %v", before, after)
	}
	if len(before) == 0 {
		s.clean(ts, nil)
	}
}

// leaves gives the command files and no pipes, whose end would only come with
// that of the process that is left.
func (s *story) leaves(ts *testscript.TestScript, args []string) {
	out, err := os.OpenFile(ts.MkAbs(args[0]), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer out.Close()
	cmd := &exec.Cmd{
		Path: s.look(ts, args[1]), Args: args[1:], Env: s.environ(ts), Dir: ts.MkAbs("."), Stdout: out, Stderr: out,
	}
	if err := cmd.Run(); err != nil {
		ts.Fatalf("%v: %s", err, ts.ReadFile(args[0]))
	}
}

func (s *story) await(ts *testscript.TestScript, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out []byte
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		cmd := &exec.Cmd{Path: s.look(ts, args[1]), Args: args[1:], Env: s.environ(ts), Dir: ts.MkAbs(".")}
		if out, err = cmd.CombinedOutput(); err == nil && want.Match(out) {
			return
		}
	}
	ts.Fatalf("the output does not come to match %s, it is: %s (%v)", want, out, err)
}

// containers lists what the runtime has recorded.
func (s *story) containers(ts *testscript.TestScript) []string {
	names, err := s.state()
	ts.Check(err)
	return names
}

// root is where the runtime keeps its containers by default.
func (s *story) root() string { return filepath.Join(s.runtime, "airplant", "oci") }

func (s *story) state() ([]string, error) {
	entries, err := os.ReadDir(s.root())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (s *story) clean(ts *testscript.TestScript, _ []string) {
	if left := s.left(); len(left) > 0 {
		ts.Fatalf("left behind: %s", strings.Join(left, "; "))
	}
}

// end is the last word of every story.
func (s *story) end() {
	if s.master != nil {
		s.master.close()
	}
	left := s.left()
	if len(left) > 0 && !s.t.Failed() {
		s.t.Errorf("left behind: %s", strings.Join(left, "; "))
	}
	names, _ := s.state()
	for _, n := range names { // or they would outlive the test
		out, err := exec.Command(s.program, "oci", "--root", s.root(), "delete", "-f", n).CombinedOutput()
		if err != nil {
			s.t.Errorf("delete %s: %v: %s", n, err, out)
		}
	}
}

// left lists containers, and processes and mounts that have to do with the
// story's folder. The kernel may need a moment to take a namespace down.
func (s *story) left() []string {
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left, err := s.state()
		if err != nil {
			return []string{err.Error()}
		}
		left = append(left, s.users()...)
		if len(left) == 0 || time.Since(start) > 3*time.Second {
			return left
		}
	}
}

// users finds our own mount namespace, if it has mounts below the story's
// folder, and processes of others that have the folder mounted anywhere: a
// container's root is such a mount.
func (s *story) users() []string {
	// Paths in mountinfo are relative to the file system, so only the end of
	// the folder's own is sure to be there.
	folder := filepath.Join(filepath.Base(filepath.Dir(s.work)), filepath.Base(s.work))
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, p := range processes {
		text, err := os.ReadFile(p + "/mountinfo")
		if err != nil || !bytes.Contains(text, []byte(folder)) {
			continue // it has ended, or is somebody else's
		}
		line, _ := os.ReadFile(p + "/cmdline")
		found = append(found, fmt.Sprintf("process %s %q", filepath.Base(p), bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}
