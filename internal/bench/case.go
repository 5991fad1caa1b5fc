package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// allCases is the table of what bench can measure, in the order of printing.
func allCases() []benchCase {
	return append([]benchCase{
		{name: "oci-run-one-id", what: "run /bin/true from a bundle, one id, network namespace", subjects: runOneID},
		{name: "oci-run-subids", what: "the same with subids through newuidmap and newgidmap", subjects: runSubIDs},
		{name: "oci-run-seccomp", what: "run /bin/true with a seccomp profile of 300 rules; one id", subjects: runSeccomp},
		{name: "oci-create-start-delete", what: "create, start, wait for the exit, delete; one id", subjects: createStartDelete},
		{name: "oci-exec", what: "exec /bin/true in a running container, one id", subjects: execRunning},
		{name: "oci-run-eight", what: "100 runs of /bin/true, eight at a time; one id", rounds: 5, subjects: runEight},
		{name: "oci-state", what: "state of a created container, and a Go hello-world", subjects: state},
		{name: "size", what: "the binary; the aim is at most 16777216", value: size},
		{name: "created-memory", what: "private memory of a created container whose creator has gone; the aim is at most 256", value: createdMemory},
		{name: "run-image", what: "run --rm --network none IMAGE true", subjects: runImage},
	}, pullCases()...)
}

// peer is a program that speaks runc's command line.
type peer struct {
	name string
	path string
	err  error
	root string // state directory, its own
}

func (b *bench) runtimes() []peer {
	all := []peer{{name: "airplant", path: b.path("bin/airplant-oci")}}
	if _, err := os.Stat(all[0].path); err != nil {
		all[0].err = fmt.Errorf("airplant: %w", errNotInstalled)
	}
	for _, name := range []string{"crun", "runc"} {
		path, err := find(name)
		all = append(all, peer{name: name, path: path, err: err})
	}
	for i := range all {
		all[i].root = filepath.Join(b.State, all[i].name)
	}
	return all
}

// argv is a command line of the runtime. crun 1.8 knows how to do without
// cgroups only when told so; runc and airplant find out themselves.
func (r peer) argv(args ...string) []string {
	argv := []string{r.path, "--root", r.root}
	if r.name == "crun" {
		argv = append(argv, "--cgroup-manager=disabled")
	}
	return append(argv, args...)
}

func (b *bench) runBundle(dir string, err error) []subject {
	var subjects []subject
	for _, r := range b.runtimes() {
		subjects = append(subjects, subject{name: r.name, err: errors.Join(r.err, err), run: func(i int) error {
			return b.exec(r.argv("run", "--bundle", dir, fmt.Sprintf("bench-%d", i))...)
		}})
	}
	return subjects
}

func runOneID(b *bench) []subject {
	subjects := b.runBundle(b.bundle("one-id", oneID(b.UID), oneID(b.GID)))
	bwrap, err := find("bwrap")
	for _, masks := range []bool{false, true} {
		name := "bubblewrap"
		if masks {
			name = "bubblewrap with masks"
		}
		argv := b.bubblewrap(bwrap, masks)
		subjects = append(subjects, subject{name: name, err: err, run: func(int) error { return b.exec(argv...) }})
	}
	return subjects
}

func runSeccomp(b *bench) []subject {
	return b.runBundle(b.filtered("seccomp", oneID(b.UID), oneID(b.GID)))
}

// bubblewrap does what the bundle asks for as far as it can: no rlimit, no
// cgroup2 mount. It maps to id 0 and makes the program process 1, the fastest
// way it has. People call it without masks, so that is its main line.
func (b *bench) bubblewrap(path string, masks bool) []string {
	argv := []string{
		path, "--unshare-all", "--as-pid-1", "--uid", "0", "--gid", "0", "--hostname", "bench",
		"--ro-bind", b.path("rootfs"), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm",
		"--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys", "--ro-bind", "/sys/fs/cgroup", "/sys/fs/cgroup",
		"--cap-drop", "ALL", "--cap-add", "CAP_AUDIT_WRITE", "--cap-add", "CAP_KILL", "--cap-add", "CAP_NET_BIND_SERVICE",
		"--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--chdir", "/",
	}
	for _, name := range maskedPaths() {
		info, err := os.Stat(name)
		switch {
		case err != nil || !masks:
		case info.IsDir():
			argv = append(argv, "--tmpfs", name, "--remount-ro", name)
		default:
			argv = append(argv, "--ro-bind", os.DevNull, name)
		}
	}
	return append(argv, "--", "/bin/true")
}

func (b *bench) subIDMaps() (uids, gids []specs.LinuxIDMapping, err error) {
	uids, err = withSubIDs("/etc/subuid", b.stage, b.UID)
	if err != nil {
		return nil, nil, err
	}
	gids, err = withSubIDs("/etc/subgid", b.stage, b.GID)
	return uids, gids, err
}

func runSubIDs(b *bench) []subject {
	uids, gids, err := b.subIDMaps()
	if err != nil {
		return b.runBundle("", err)
	}
	return b.runBundle(b.bundle("subids", uids, gids))
}

func createStartDelete(b *bench) []subject {
	dir, err := b.bundle("one-id", oneID(b.UID), oneID(b.GID))
	var subjects []subject
	for _, r := range b.runtimes() {
		subjects = append(subjects, subject{name: r.name, err: errors.Join(r.err, err), run: func(i int) error {
			id := fmt.Sprintf("bench-%d", i)
			pid, err := b.create(r, dir, id)
			if err != nil {
				return err
			}
			if err := b.exec(r.argv("start", id)...); err != nil {
				return err
			}
			if err := await(pid); err != nil {
				return err
			}
			return b.exec(r.argv("delete", id)...)
		}})
	}
	return subjects
}

func (b *bench) create(r peer, bundle, id string) (pid int, err error) {
	file := filepath.Join(b.State, "pid")
	if err := b.exec(r.argv("create", "--bundle", bundle, "--pid-file", file, id)...); err != nil {
		return 0, err
	}
	return readPID(file)
}

func state(b *bench) []subject {
	dir, err := b.bundle("one-id", oneID(b.UID), oneID(b.GID))
	var subjects []subject
	for _, r := range b.runtimes() {
		err := errors.Join(r.err, err)
		if err == nil {
			_, err = b.create(r, dir, "bench-state")
		}
		subjects = append(subjects, subject{
			name: r.name, err: err,
			run:  func(int) error { return b.exec(r.argv("state", "bench-state")...) },
			done: func() { b.discard(r, "bench-state") },
		})
	}
	return append(subjects, subject{name: "Go hello-world", run: func(int) error {
		return b.exec(b.path("bin/hello"))
	}})
}

// execRunning starts a second program in a container of each runtime.
func execRunning(b *bench) []subject {
	dir, err := b.sleeper("sleeper", oneID(b.UID), oneID(b.GID))
	var subjects []subject
	for _, r := range b.runtimes() {
		err := errors.Join(r.err, err)
		if err == nil {
			err = b.exec(r.argv("run", "--detach", "--bundle", dir, "bench-exec")...)
		}
		subjects = append(subjects, subject{
			name: r.name, err: err,
			run:  func(int) error { return b.exec(r.argv("exec", "bench-exec", "/bin/true")...) },
			done: func() { b.discard(r, "bench-exec") },
		})
	}
	return subjects
}

// runEight is what a busy engine does.
func runEight(b *bench) []subject {
	dir, err := b.bundle("one-id", oneID(b.UID), oneID(b.GID))
	var subjects []subject
	for _, r := range b.runtimes() {
		subjects = append(subjects, subject{name: r.name, err: errors.Join(r.err, err), run: func(i int) error {
			return together(8, 100, func(k int) error {
				return b.exec(r.argv("run", "--bundle", dir, fmt.Sprintf("bench-%d-%d", i, k))...)
			})
		}})
	}
	return subjects
}

// discard removes a container that may not exist.
func (b *bench) discard(r peer, id string) {
	if r.err == nil {
		_ = b.exec(r.argv("delete", "--force", id)...) // nothing to delete is as good
		b.reap()
	}
}

func size(b *bench) []Result {
	var results []Result
	for _, name := range []string{"airplant", "hello"} {
		r := Result{Subject: name, Status: statusMissing}
		if info, err := os.Stat(b.path("bin/" + name)); err == nil {
			r.Status, r.Value, r.Unit = statusOK, float64(info.Size()), "bytes"
		}
		results = append(results, r)
	}
	return results
}

func createdMemory(b *bench) []Result {
	dir, err := b.bundle("one-id", oneID(b.UID), oneID(b.GID))
	var results []Result
	for _, r := range b.runtimes() {
		var kib int
		err := errors.Join(r.err, err)
		if err == nil {
			kib, err = b.memoryWhenCreated(r, dir)
		}
		result := Result{Subject: r.name, Status: statusOK, Value: float64(kib), Unit: "KiB"}
		switch {
		case errors.Is(err, errNotInstalled):
			result = Result{Subject: r.name, Status: statusMissing}
		case errors.Is(err, os.ErrPermission) && r.name != "airplant":
			result = Result{Subject: r.name, Status: statusSkipped, Error: "its memory is hidden from all but root"}
		case err != nil:
			result = Result{Subject: r.name, Status: statusFailed, Error: err.Error()}
		}
		results = append(results, result)
	}
	return results
}

func (b *bench) memoryWhenCreated(r peer, dir string) (kib int, err error) {
	pid, err := b.create(r, dir, "bench-memory")
	if err != nil {
		return 0, err
	}
	defer b.discard(r, "bench-memory")
	if b.root != nil {
		return askMemory(b.root, pid)
	}
	return memoryOf(pid)
}
