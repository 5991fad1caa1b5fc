package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/birth"
	"airplant/internal/testenv"
	"airplant/lifecycle/landlock"
	"airplant/lifecycle/plan"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The tests of this file make every instruction of a container's plan fail in
// turn: the error names it, and nothing is left. An instruction that is jumped
// over cannot fail; that it could be jumped over is checked too.

func TestEachInstructionFails(t *testing.T) {
	if testenv.Plain(t).Rerun(t) {
		return
	}
	failEach(t, userns.One(os.Getuid(), os.Getgid(), 0, 0), false)
}

func TestEachInstructionFailsWithSubids(t *testing.T) {
	if testenv.Subids(t).Rerun(t) {
		return
	}
	id, err := userns.Choose(os.Getuid(), os.Getgid(), false)
	if err != nil {
		t.Fatal(err)
	}
	failEach(t, id.Map(), true)
}

func TestEachInstructionFailsAsRoot(t *testing.T) {
	testenv.Root(t)
	failEach(t, userns.Map{}, false)
}

// failing is a bundle with a little of all that may fail.
func failing(t *testing.T, m userns.Map) (*specs.Spec, *CreateOptions) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile(testenv.Busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rootfs/bin/true"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	spec := Example()
	p, l := spec.Process, spec.Linux
	p.Terminal, p.Args, p.Cwd, p.Env = false, []string{"true"}, "/srv/x", []string{"PATH=/bin"}
	p.Capabilities.Bounding = allButThree()
	if len(m.UIDs) > 0 {
		Unprivileged(spec, m)
		p.User.UID, p.User.GID = m.UIDs[0].ContainerID, m.GIDs[0].ContainerID
	}
	l.Resources, p.NoNewPrivileges = nil, false
	l.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"write", "exit_group"}, Action: specs.ActErrno}}}
	l.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "63"}
	l.MaskedPaths, l.ReadonlyPaths = []string{"/proc/kcore", "/sys/firmware", "/none"}, []string{"/proc/sys"}
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" || m.Destination == "/dev/mqueue" })
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data/file", Source: "/etc/passwd", Type: "bind", Options: []string{"ro"}})
	if len(m.UIDs) < 2 { // a copy for other ids is made by our program, which these tests are not
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/bin", Type: "tmpfs", Options: []string{"tmpcopyup"}},
			specs.Mount{Destination: "/bin", Options: []string{"remount", "nosuid", "size=8m"}},
			specs.Mount{Destination: "/link", Source: "/proc/self", Type: "bind", Options: []string{"copy-symlink"}})
		spec.Annotations = map[string]string{landlock.Annotation: `{"fs": [{"paths": ["/", "/bin/true", "/none"], "access": "rwxd"}], "connect": [80]}`}
	}
	return spec, &CreateOptions{Bundle: dir, PidFile: filepath.Join(dir, "pid")}
}

// allButThree capabilities keep a plan short.
func allButThree() []string { return plan.AllCapabilities()[3:] }

func failEach(t *testing.T, m userns.Map, wait bool) {
	t.Helper()
	spec, o := failing(t, m)
	r := &Runtime{Root: filepath.Join(t.TempDir(), "state")}
	p, err := r.Plan(spec, o, wait)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(); err != nil {
		t.Fatal(err)
	}
	if err := try(r, spec, o, wait); err != nil {
		t.Fatalf("without a failure: %v", err)
	}
	before, list, mayJump := descriptors(t), p.Lines(), jumpable(p.Lines())
	// Once a container is created, it has nobody to tell but start.
	created := slices.IndexFunc(list, func(l birth.Line) bool { return l.Label == "wait for start" })
	failed := 0
	for _, l := range list {
		o.Inject = &birth.Options{FailAt: l.Index, FailWith: unix.EDOM}
		err := try(r, spec, o, wait)
		switch {
		case wait && l.Index >= created-1:
			if (l.Call == "execve" || l.Call == "read") && !errors.Is(err, unix.EDOM) {
				t.Errorf("%s: %v", l, err)
			}
		case err == nil && !mayJump[l.Index]:
			t.Errorf("%s: no error", l)
		case err != nil:
			failed++
			checkError(t, p, l, err)
		}
		leftovers(t, r, o, l, before)
		if t.Failed() {
			return
		}
	}
	if failed < len(list)/3 { // ladders are long
		t.Errorf("only %d of %d instructions could fail", failed, len(list))
	}
}

func checkError(t *testing.T, p *plan.Plan, l birth.Line, err error) {
	t.Helper()
	want := l.Label + ": "
	if p.IsCommand(l.Index) {
		want = `execute "true": `
	}
	if !errors.Is(err, unix.EDOM) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v", l, err)
	}
}

// jumpable are the instructions between a jump and where it leads.
func jumpable(list []birth.Line) map[int]bool {
	to := regexp.MustCompile(`to (\d+)$`)
	may := map[int]bool{}
	for _, l := range list {
		for _, on := range l.On {
			if m := to.FindStringSubmatch(on); m != nil {
				target, _ := strconv.Atoi(m[1])
				for n := l.Index + 1; n < target; n++ {
					may[n] = true
				}
			}
		}
	}
	return may
}

// try makes a container and, if that succeeds, ends it.
func try(r *Runtime, spec *specs.Spec, o *CreateOptions, wait bool) error {
	if !wait {
		_, err := r.Run("c", spec, &RunOptions{CreateOptions: *o})
		return errors.Join(err, removed(o.PidFile, err != nil))
	}
	if err := r.Create("c", spec, o); err != nil {
		return errors.Join(err, removed(o.PidFile, true))
	}
	rec, err := r.read("c")
	if err == nil {
		err = r.Start("c")
	}
	err = errors.Join(err, r.Delete("c", true), removed(o.PidFile, false))
	for { // we are its parent
		if _, waitErr := unix.Wait4(rec.PID, nil, 0, nil); !errors.Is(waitErr, unix.EINTR) {
			return errors.Join(err, waitErr)
		}
	}
}

// removed removes the pid file, or sees that it has been.
func removed(name string, already bool) error {
	err := os.Remove(name)
	switch {
	case already && err == nil:
		return errors.New("the pid file is left")
	case already && errors.Is(err, os.ErrNotExist):
		return nil
	}
	return err
}

// leftovers sees that nothing of the container is left in this process.
func leftovers(t *testing.T, r *Runtime, o *CreateOptions, l birth.Line, before []string) {
	t.Helper()
	if entries, err := os.ReadDir(r.Root); err != nil || len(entries) > 0 {
		t.Errorf("%s: state %v, %v", l, entries, err)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		if children, err := os.ReadFile(task); err == nil && len(children) > 0 {
			t.Errorf("%s: children %s", l, children)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), o.Bundle) {
		t.Errorf("%s: mounted: %s, %v", l, mounts, err)
	}
	if now := descriptors(t); !slices.Equal(now, before) {
		t.Errorf("%s: descriptors %v, before %v", l, now, before)
	}
}

// descriptors lists what is open, but for the directory that is read for it.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}
