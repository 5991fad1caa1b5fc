package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func caller() Caller {
	return Caller{UID: os.Geteuid(), Privileged: os.Geteuid() == 0, RuntimeDir: os.Getenv("XDG_RUNTIME_DIR")}
}

// ownGroup is the cgroup that is delegated to us: the parent of the one we
// are in. A user without one skips.
func ownGroup(t *testing.T) string {
	t.Helper()
	h, err := Look(caller(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Own.Writable || h.Own.Path == "/" {
		testenv.Skip(t, "no cgroup is delegated to this user")
	}
	return path.Dir(h.Own.Path)
}

// plan chooses and insists on a kind.
func plan(t *testing.T, r Request) Plan {
	t.Helper()
	h, err := Look(caller(), r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Choose(h, r)
	if err != nil || p.Kind != Cgroupfs {
		t.Fatalf("%+v: %+v, %v", h, p, err)
	}
	return p
}

// create makes a group and removes it at the end of the test.
func create(t *testing.T, p Plan) *Group {
	t.Helper()
	g, err := Create(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Remove(5*time.Second), g.Close()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(g.Place().Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", g.Place().Dir(), err)
		}
	})
	return g
}

// start starts a command in a group by CLONE_INTO_CGROUP.
func start(t *testing.T, g *Group, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.File().Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestFreezeKillRemove(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	ctx := soon(t)
	g := create(t, plan(t, Request{Path: path.Join(ownGroup(t), "parent/box")}))
	if filepath.Base(path.Dir(g.Place().Path)) != "parent" {
		t.Errorf("the group is at %s", g.Place().Path)
	}
	cmd := start(t, g, "sh", "-c", "sleep 100 & sleep 100 & wait")
	for populated := false; !populated; {
		pids, err := g.Pids()
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		populated = len(pids) == 3 && slices.Contains(pids, cmd.Process.Pid)
	}

	if err := g.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); !frozen || err != nil {
		t.Errorf("frozen %v, %v", frozen, err)
	}
	if _, err := Create(Plan{Kind: Cgroupfs, Mount: g.place.Mount, Base: path.Dir(g.place.Path), Path: g.place.Path}, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("creating it again: %v", err)
	}
	if err := g.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(20 * time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("removing it with processes: %v", err)
	}
	stats, err := g.Stats()
	if err != nil || stats.CPU.Usage == 0 || stats.CPU.PSI == nil {
		t.Errorf("stats %+v, %v", stats, err)
	}

	// Kill reaches frozen processes, and all of them.
	if err := g.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("the process ended by %v", cmd.ProcessState)
	}
	again, err := Open(g.Place())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Remove(5 * time.Second); err != nil {
		t.Error(err)
	}
	if err := g.Remove(time.Second); err != nil {
		t.Errorf("removing it again: %v", err)
	}
	if _, err := Open(g.Place()); !errors.Is(err, ErrGone) {
		t.Errorf("opening it again: %v", err)
	}
	if _, err := os.Stat(path.Dir(g.Place().Dir())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its parent, made for it: %v", err)
	}
}

func TestSignalWithoutKill(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	g := create(t, plan(t, Request{Path: path.Join(ownGroup(t), "signal")}))
	// A process that forks faster than signals could be sent one by one.
	cmd := start(t, g, "sh", "-c", "while :; do sleep 100 & sleep 0.001; done")
	time.Sleep(50 * time.Millisecond)
	if err := g.killEach(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := g.await(soon(t), "populated", 0); err != nil {
		t.Error(err)
	}
}

func TestJoinOwnAndSub(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	g := create(t, plan(t, Request{Path: path.Join(ownGroup(t), "join")}))
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// What a container may do in a group that it owns: nest deeply.
	deep := g.Place().Dir()
	for range 300 {
		if deep += "/d"; os.Mkdir(deep, 0o755) != nil {
			t.Fatalf("mkdir %d bytes deep", len(deep))
		}
	}
	sub, err := g.Sub("d/d")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Join(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil || unifiedPath(string(text)) != sub.Place().Path {
		t.Errorf("the process is in %s, %v", text, err)
	}
	if _, err := g.Pids(); err == nil {
		t.Error("a walk 300 deep has no bound")
	}
	for _, name := range []string{"..", "d/../..", "/", "x"} {
		if bad, err := g.Sub(name); err == nil {
			t.Errorf("below the group: %q is %s", name, bad.Place().Path)
		}
	}
	if err := g.Own(os.Getuid(), os.Getgid()); err != nil {
		t.Error(err)
	}
}

// No name leads out of a directory, whatever it is and whoever checked it.
func TestBeneath(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	g := create(t, plan(t, Request{Path: path.Join(ownGroup(t), "beneath")}))
	for _, name := range []string{"../cgroup.procs", "/sys/fs/cgroup/cgroup.procs", "..", "/"} {
		if fd, err := g.dir.openat(name, unix.O_RDONLY); err == nil {
			unix.Close(fd)
			t.Errorf("%q was opened", name)
		}
	}
	if fd, err := g.dir.openat("cgroup.procs", unix.O_RDONLY); err != nil {
		t.Error(err)
	} else {
		unix.Close(fd)
	}
}

func TestVacate(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	base := path.Join(ownGroup(t), "vacate")
	outer := create(t, plan(t, Request{Path: base}))
	for range 5 {
		start(t, outer, "sleep", "100")
	}
	if err := outer.dir.vacate(); err != nil {
		t.Fatal(err)
	}
	left, err := outer.dir.words("cgroup.procs")
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	leaf, err := outer.dir.sub(leafName)
	if err != nil {
		t.Fatal(err)
	}
	defer leaf.close()
	if moved, err := leaf.words("cgroup.procs"); len(moved) != 5 {
		t.Errorf("moved: %v, %v", moved, err)
	}
}

// What fails leaves nothing behind.
func TestCreateUndone(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	base := ownGroup(t)
	limit := int64(1 << 30)
	p := plan(t, Request{Path: path.Join(base, "undo/a/b")})
	if slices.Contains(p.Controllers, "memory") {
		p.Controllers, limit = nil, -5 // refused by the kernel below
	}
	r := &specs.LinuxResources{Unified: map[string]string{"misc.max": "nonsense"}, Memory: &specs.LinuxMemory{Limit: &limit}}
	_, err := Create(p, Options{Resources: r})
	if !errors.Is(err, ErrController) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("create with impossible limits: %v", err)
	}
	if _, err := os.Stat(path.Join(p.Mount, base, "undo")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory is left: %v", err)
	}
	// Others' directories are not removed.
	kept := path.Join(p.Mount, base, "kept")
	if err := os.Mkdir(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(kept)
	_, err = Create(plan(t, Request{Path: path.Join(base, "kept/a")}), Options{Resources: r})
	if _, statErr := os.Stat(kept); err == nil || statErr != nil {
		t.Errorf("%v, %v", err, statErr)
	}
}

func TestWatch(t *testing.T) {
	if testenv.Plain(t).RerunV2(t) {
		return
	}
	ctx := soon(t)
	g := create(t, plan(t, Request{Path: path.Join(ownGroup(t), "watch")}))
	w, err := g.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next := func(want Events) {
		t.Helper()
		if e, err := w.Next(ctx); err != nil || e != want {
			t.Fatalf("%+v, %v; want %+v", e, err, want)
		}
	}
	next(Events{})
	cmd := start(t, g, "sleep", "100")
	next(Events{Populated: true})
	if err := g.Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	next(Events{Populated: true, Frozen: true})
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := w.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing happened: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := g.Remove(time.Second); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = w.Next(ctx)
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}
