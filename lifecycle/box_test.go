package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// box is a bundle, and a folder for the state of its containers.
type box struct {
	t    testing.TB
	who  *caller
	dir  string
	spec *specs.Spec
}

// applets of busybox that containers have.
var applets = strings.Fields(`cat chmod cp cut date echo env false grep hostname id ip kill ln ls mkdir mkfifo mknod mount nc ps pwd
readlink rm sh sleep stat sysctl test touch true tty umount uname wc xargs`)

// bundle makes a bundle whose process has the arguments.
func (c *caller) bundle(t testing.TB, args ...string) *box {
	t.Helper()
	b := &box{t: t, who: c, dir: c.user.TempDir(t), spec: c.spec(args...)}
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		b.mkdir(d)
	}
	busybox, err := os.ReadFile(testenv.Busybox(t))
	b.check(err)
	b.write("bin/busybox", string(busybox))
	for _, a := range applets {
		b.link("busybox", "bin/"+a)
	}
	t.Cleanup(b.end)
	return b
}

// script is a bundle whose process is a shell.
func (c *caller) script(t testing.TB, script string) *box {
	t.Helper()
	return c.bundle(t, "sh", "-c", script)
}

func (b *box) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// root is a path of the root filesystem.
func (b *box) root(path string) string { return filepath.Join(b.dir, "rootfs", path) }

func (b *box) mkdir(path string) {
	b.t.Helper()
	b.check(os.MkdirAll(b.root(path), 0o755))
}

// write writes a file, which a container may execute. A child that another
// test forks meanwhile would keep it open, and so busy, until it executes.
func (b *box) write(path, text string) {
	b.t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	b.check(os.WriteFile(b.root(path), []byte(text), 0o755))
}

func (b *box) link(target, path string) {
	b.t.Helper()
	b.check(os.Symlink(target, b.root(path)))
}

// save writes config.json, and gives all files to the container's root.
func (b *box) save() {
	b.t.Helper()
	text, err := json.Marshal(b.spec)
	b.check(err)
	b.check(os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o644))
	if os.Geteuid() != 0 {
		return
	}
	owner := b.who.user.UID
	if owner == 0 {
		owner = int(b.who.outside(b.who.inside.UID))
	}
	b.check(filepath.WalkDir(b.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, owner, owner)
	}))
}

// oci is a command line of the runtime.
func (b *box) oci(args ...string) *exec.Cmd {
	b.t.Helper()
	return b.who.command(b.t, testenv.Binary(b.t), append([]string{"oci", "--root", b.state()}, args...)...)
}

func (b *box) state() string { return filepath.Join(b.dir, "state") }

// result is what a command did.
type result struct {
	out, err string
	status   int
}

func do(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var out, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v: %s", cmd, err, &stderr)
	}
	return result{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs the container in the foreground.
func (b *box) run() result {
	b.t.Helper()
	b.save()
	return do(b.t, b.oci("run", "--bundle", b.dir, "c"))
}

// says runs the container, which has to succeed, and gives its output.
func (b *box) says() string {
	b.t.Helper()
	r := b.run()
	if r.status != 0 || r.err != "" {
		b.t.Fatalf("exit status %d, standard error %q, output %q", r.status, r.err, r.out)
	}
	return r.out
}

// fails runs a container that cannot be made; the error is one line.
func (b *box) fails(want string) {
	b.t.Helper()
	r := b.run()
	if r.status != 1 || r.out != "" || !strings.HasPrefix(r.err, "airplant: error: ") ||
		strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, want) {
		b.t.Errorf("exit status %d, output %q, standard error %q, want %q", r.status, r.out, r.err, want)
	}
	b.nothingLeft()
}

// must runs a verb that succeeds and gives its output. It uses no pipes: what
// the verb leaves behind would keep them open.
func (b *box) must(args ...string) string {
	b.t.Helper()
	out, err := os.CreateTemp(b.t.TempDir(), "out")
	b.check(err)
	defer out.Close()
	cmd := b.oci(args...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, readErr := os.ReadFile(out.Name())
	b.check(readErr)
	if err != nil {
		b.t.Fatalf("%v: %v: %s", args, err, text)
	}
	return string(text)
}

// status is the container's state.
func (b *box) status() specs.State {
	b.t.Helper()
	var s specs.State
	b.check(json.Unmarshal([]byte(b.must("state", "c")), &s))
	return s
}

// await waits for something that comes soon.
func (b *box) await(what string, there func() bool) {
	b.t.Helper()
	for start := time.Now(); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			b.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// nothingLeft sees that there is no state, and no process that has anything of
// the bundle mounted.
func (b *box) nothingLeft() {
	b.t.Helper()
	entries, err := os.ReadDir(b.state())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Error(err)
	}
	for _, e := range entries {
		b.t.Errorf("left behind: state of %s", e.Name())
	}
	var left []string
	for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(5 * time.Millisecond) {
		if left = processes(filepath.Base(b.dir)); len(left) == 0 {
			return
		}
	}
	b.t.Errorf("left behind: %v", left)
}

// processes lists those that have mounted something of a folder.
func processes(folder string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		text, err := os.ReadFile(p + "/mountinfo")
		if err != nil || !bytes.Contains(text, []byte(folder)) {
			continue // it has ended, or is none of ours
		}
		line, _ := os.ReadFile(p + "/cmdline")
		found = append(found, filepath.Base(p)+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}

// end removes what a failed test has left.
func (b *box) end() {
	entries, _ := os.ReadDir(b.state())
	for _, e := range entries {
		b.t.Errorf("left behind: state of %s", e.Name())
		// The test's context has ended by now.
		cmd := exec.Command(testenv.Binary(b.t), "oci", "--root", b.state(), "delete", "-f", e.Name())
		if out, err := cmd.CombinedOutput(); err != nil {
			b.t.Errorf("delete %s: %v: %s", e.Name(), err, out)
		}
	}
}

// saveOnly writes config.json and leaves the owners of files as they are.
func (b *box) saveOnly() string {
	b.t.Helper()
	text, err := json.Marshal(b.spec)
	b.check(err)
	b.check(os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o644))
	return string(text)
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o644) }

// execProcess runs a further process in the container c.
func (b *box) execProcess(p *specs.Process) result {
	b.t.Helper()
	text, err := json.Marshal(p)
	b.check(err)
	file := filepath.Join(b.dir, "process.json")
	b.check(os.WriteFile(file, text, 0o644))
	return do(b.t, b.oci("exec", "--process", file, "c"))
}
