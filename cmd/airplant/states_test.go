package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"airplant/internal/testenv"
)

// states are those of a container, in the order of its life.
var states = []string{"absent", "creating", "created", "running", "paused", "stopped"}

// stateVerbs are the verbs of the table, with how they are called.
var stateVerbs = []struct {
	name string
	args []string // BUNDLE, SCRATCH, IMAGES and ID are replaced
}{
	{"create", []string{"create", "-b", "BUNDLE", "ID"}},
	{"run -d", []string{"run", "-d", "-b", "BUNDLE", "ID"}},
	{"start", []string{"start", "ID"}},
	{"state", []string{"state", "ID"}},
	{"kill", []string{"kill", "ID", "KILL"}},
	{"kill -a", []string{"kill", "-a", "ID", "KILL"}},
	{"delete", []string{"delete", "ID"}},
	{"delete -f", []string{"delete", "-f", "ID"}},
	{"exec", []string{"exec", "ID", "true"}},
	{"exec --ignore-paused -d", []string{"exec", "--ignore-paused", "-d", "ID", "true"}},
	{"pause", []string{"pause", "ID"}},
	{"resume", []string{"resume", "ID"}},
	{"ps", []string{"ps", "-f", "json", "ID"}},
	{"events --stats", []string{"events", "--stats", "ID"}},
	{"update --pids-limit", []string{"update", "--pids-limit", "100", "ID"}},
	{"checkpoint", []string{"checkpoint", "--image-path", "IMAGES", "ID"}},
	{"restore -d", []string{"restore", "-d", "--image-path", "IMAGES", "-b", "BUNDLE", "ID"}},
	{"list", []string{"list"}},
	{"spec", []string{"spec", "-b", "SCRATCH"}},
	{"features", []string{"features"}},
	{"an unknown verb", []string{"frobnicate", "ID"}},
}

// subject is a runtime whose verbs are tried.
type subject struct {
	t       *testing.T
	user    testenv.User
	program []string // with the flags before the verb
	root    string   // its folder of states
	bundle  string
	scratch string
	images  string // of checkpoints; CRIU leaves its logs there
	serial  int
	id      string    // of the container of now
	maker   *exec.Cmd // a create that a hook holds
}

// newSubject makes a bundle whose program sleeps. Its createRuntime hook waits
// for a file to go, which is there but for the state creating.
func newSubject(t *testing.T, u testenv.User, program string, face ...string) *subject {
	t.Helper()
	dir := u.TempDir(t)
	s := &subject{
		t: t, user: u, root: filepath.Join(dir, "root"), bundle: filepath.Join(dir, "bundle"), scratch: filepath.Join(dir, "scratch"),
		images: filepath.Join(dir, "images"),
	}
	s.program = append(append([]string{program}, face...), "--root", s.root)
	bin := filepath.Join(s.bundle, "rootfs", "bin")
	s.check(os.MkdirAll(bin, 0o755))
	s.check(os.MkdirAll(s.scratch, 0o777))
	text, err := os.ReadFile(testenv.Busybox(t))
	s.check(err)
	s.check(os.WriteFile(filepath.Join(bin, "busybox"), text, 0o755))
	for _, name := range []string{"sh", "sleep", "true"} {
		s.check(os.Symlink("busybox", filepath.Join(bin, name)))
	}
	s.own(dir)
	spec := []string{"spec", "-b", s.bundle}
	if u.UID != 0 {
		spec = append(spec, "--rootless")
	}
	if status, text := s.verb(spec...); status != 0 {
		t.Fatalf("spec: %s", text)
	}
	s.configure()
	return s
}

func (s *subject) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// own gives a tree to the user.
func (s *subject) own(dir string) {
	s.check(filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, s.user.UID, s.user.GID))
	}))
}

func (s *subject) configure() {
	file := filepath.Join(s.bundle, "config.json")
	text, err := os.ReadFile(file)
	s.check(err)
	spec := map[string]any{}
	s.check(json.Unmarshal(text, &spec))
	hook := fmt.Sprintf("mkdir %[1]s/held; while [ ! -e %[1]s/go ]; do sleep 0.02; done", s.scratch)
	hooks, err := json.Marshal([]any{map[string]any{"path": "/bin/sh", "args": []string{"sh", "-c", hook}, "env": []string{"PATH=/bin:/usr/bin"}}})
	s.check(err)
	for key, value := range map[string]string{
		"process.terminal": "false", "process.args": `["sleep","1000"]`, "hooks.createRuntime": string(hooks),
	} {
		s.check(set(spec, key, value))
	}
	text, err = json.Marshal(spec)
	s.check(err)
	s.check(os.WriteFile(file, text, 0o644))
}

// patient is how long a verb may take.
const patient = 10 * time.Second

// command is a verb, with files for output: what it leaves behind would keep
// pipes open.
func (s *subject) command(args []string, out *os.File) *exec.Cmd {
	line := append(append([]string{}, s.program...), args...)
	cmd := s.user.Command(s.t, line[0], line[1:]...)
	cmd.Dir = s.scratch
	if s.user.UID == 0 {
		cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// verb runs a verb; one that hangs is killed and has no status.
func (s *subject) verb(args ...string) (status int, text string) {
	s.t.Helper()
	out, err := os.CreateTemp(s.t.TempDir(), "out")
	s.check(err)
	defer out.Close()
	cmd := s.command(args, out)
	s.check(cmd.Start())
	kill := time.AfterFunc(patient, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	kill.Stop()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		s.check(err)
	}
	said, err := os.ReadFile(out.Name())
	s.check(err)
	return cmd.ProcessState.ExitCode(), string(said)
}

// state is what the runtime says of the container.
func (s *subject) state() string {
	status, text := s.verb("state", s.id)
	if status != 0 {
		return "absent"
	}
	m := regexp.MustCompile(`"status": "([a-z]+)"`).FindStringSubmatch(text)
	if m == nil {
		s.t.Fatalf("state: %s", text)
	}
	return m[1]
}

// settled is the state once what was begun has come to its end.
func (s *subject) settled(want string) string {
	got := ""
	for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(20 * time.Millisecond) {
		if got = s.state(); got == want {
			break
		}
	}
	return got
}

// bring makes a container and brings it into a state.
func (s *subject) bring(state string) {
	s.t.Helper()
	s.serial++
	s.id = "s" + strconv.Itoa(s.serial)
	_ = os.Remove(filepath.Join(s.scratch, "held"))
	switch state {
	case "absent":
		return
	case "creating":
		s.hold()
		return
	}
	s.must("create", "-b", s.bundle, s.id)
	if state == "created" {
		return
	}
	s.must("start", s.id)
	switch state {
	case "paused":
		s.must("pause", s.id)
	case "stopped":
		s.must("kill", s.id, "KILL")
	}
	if got := s.settled(state); got != state {
		s.t.Fatalf("brought a container to %s, not %s", got, state)
	}
}

func (s *subject) must(args ...string) {
	s.t.Helper()
	if status, text := s.verb(args...); status != 0 {
		s.t.Fatalf("%v: exit status %d: %s", args, status, text)
	}
}

// hold begins a create that a hook keeps from its end.
func (s *subject) hold() {
	s.t.Helper()
	s.check(os.Remove(filepath.Join(s.scratch, "go")))
	out, err := os.CreateTemp(s.t.TempDir(), "out")
	s.check(err)
	defer out.Close()
	s.maker = s.command([]string{"create", "-b", s.bundle, s.id}, out)
	s.check(s.maker.Start())
	s.exists("held")
}

func (s *subject) exists(name string) {
	s.t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.scratch, name)); err == nil {
			return
		}
		if time.Since(start) > patient {
			s.t.Fatalf("%s does not come", name)
		}
	}
}

// letGo lets hooks pass.
func (s *subject) letGo() {
	s.check(os.WriteFile(filepath.Join(s.scratch, "go"), nil, 0o666))
	if s.maker != nil {
		_ = s.maker.Wait() // it may have been made to fail
		s.maker = nil
	}
}

// leave removes the container of now, whatever became of it.
func (s *subject) leave() {
	s.t.Helper()
	s.letGo()
	if s.id == "" {
		return
	}
	s.must("delete", "-f", s.id)
	s.nobody()
}

// members are the processes that have something of the bundle mounted.
func (s *subject) members() (list []string) {
	s.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	s.check(err)
	ours, _ := os.Readlink("/proc/self/ns/mnt")
	first, _ := os.Readlink("/proc/1/ns/mnt")
	mark := []byte(filepath.Base(filepath.Dir(s.bundle)) + "/bundle/")
	for _, p := range all {
		if theirs, err := os.Readlink(p + "/ns/mnt"); err != nil || theirs == ours || theirs == first {
			continue
		}
		if text, err := os.ReadFile(p + "/mountinfo"); err == nil && bytes.Contains(text, mark) {
			list = append(list, filepath.Base(p))
		}
	}
	return list
}

// nobody sees that no member is left. The kernel may need a moment.
func (s *subject) nobody() {
	s.t.Helper()
	for start := time.Now(); len(s.members()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 3*time.Second {
			s.t.Fatalf("left behind: %v", s.members())
		}
	}
}

// traces is all that a verb could change: the runtime's files, those of the
// bundle and the processes.
func (s *subject) traces() string {
	var b strings.Builder
	for _, dir := range []string{s.root, s.bundle, s.scratch} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			info, infoErr := d.Info()
			if err := errors.Join(err, infoErr); err != nil {
				return err
			}
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime())
			return nil
		})
		s.check(err)
	}
	fmt.Fprintln(&b, s.members())
	return b.String()
}
