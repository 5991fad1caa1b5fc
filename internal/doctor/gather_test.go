package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"airplant/internal/testenv"
	"golang.org/x/sys/unix"
)

// printFacts makes the test binary print what it gathers, so that a test can
// look at a host through unshare and setpriv.
const printFacts = "doctor-print-facts"

func TestMain(m *testing.M) {
	if os.Args[0] == ProbeName {
		os.Exit(RunProbe(os.Args, os.Stdin, os.Stdout))
	}
	if len(os.Args) == 2 && os.Args[1] == printFacts {
		if err := json.NewEncoder(os.Stdout).Encode(Gather(context.Background(), os.Getenv)); err != nil {
			os.Exit(1)
		}
		return
	}
	testenv.Main(m)
}

// factsBelow gathers after a shell script has made the host worse.
func factsBelow(t *testing.T, prefix []string, script string) Facts {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(prefix, "sh", "-ec", script+`; exec "$0" "$@"`, self, printFacts)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	data := t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+data)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var f Facts
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(data + "/.*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return f
}

func TestGatherWithSubids(t *testing.T) {
	if testenv.Subids(t).Rerun(t) {
		return
	}
	f := factsBelow(t, nil, "true")
	if f.Identity() != RungSubids || f.Caller.UID != os.Getuid() || f.Caller.IDs != allIDs {
		t.Errorf("identity %s of %+v with %+v, %+v", f.Identity(), f.Caller, f.Maps, f.Tries)
	}
	for _, name := range []string{TryUserNS, TryAllNS, TryHelpers, TryOverlay, TryProc, TryProcSubset, TryPacket, TryNotify, TryMemfd, TryOpenat2} {
		if !f.Tries[name].OK() {
			t.Errorf("%s: %+v", name, f.Tries[name])
		}
	}
	for name, try := range f.Tries {
		if try.Errno == syscall.EINVAL || try.Errno == syscall.EFAULT {
			t.Errorf("%s was tried wrongly: %+v", name, try)
		}
	}
	if !CanRun(Judge(f)) {
		t.Errorf("containers cannot run: %+v", Judge(f))
	}
	for name, path := range map[string]string{TryFUSE: devFUSE, TryTUN: devTUN} {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			file.Close()
		}
		if opened := f.Tries[name].Done && f.Tries[name].Step != "open"; opened != (err == nil) {
			t.Errorf("%s: %+v, and we get %v", name, f.Tries[name], err)
		}
	}
}

func TestGatherWithoutSubids(t *testing.T) {
	if testenv.NoSubids(t).Rerun(t) {
		return
	}
	f := factsBelow(t, nil, "true")
	if f.Identity() != RungOneID || f.Tries[TryHelpers].Done {
		t.Errorf("identity %s with %+v, %+v", f.Identity(), f.Maps, f.Tries[TryHelpers])
	}
	if !CanRun(Judge(f)) {
		t.Errorf("containers cannot run: %+v", Judge(f))
	}
}

func TestGatherAsRoot(t *testing.T) {
	testenv.Root(t)
	f := factsBelow(t, nil, "true")
	if id := f.Identity(); id != RungHostRoot && id != RungSubids || !f.Tries[TryOverlay].OK() {
		t.Errorf("identity %s, overlay %+v", f.Identity(), f.Tries[TryOverlay])
	}
}

// Hosts that refuse something, made of this one by an unprivileged user.
func TestGatherOnWorseHosts(t *testing.T) {
	testenv.Need(t, "unshare", "setpriv", "mount")
	if testenv.Subids(t).Rerun(t) {
		return
	}
	nested := []string{"unshare", "--user", "--map-root-user"}
	t.Run("no user namespaces", func(t *testing.T) {
		f := factsBelow(t, nested, "echo 0 >/proc/sys/user/max_user_namespaces")
		l := find(t, Judge(f), "user namespaces")
		if f.Tries[TryUserNS].Errno != syscall.ENOSPC || !l.Blocks || !strings.Contains(l.Fix, knobMaxUser) {
			t.Errorf("%+v, %+v", f.Tries[TryUserNS], l)
		}
		if ExitStatus(Judge(f)) != 1 {
			t.Error("exit status 0")
		}
	})
	t.Run("no network namespaces", func(t *testing.T) {
		f := factsBelow(t, nested, "echo 0 >/proc/sys/user/max_net_namespaces")
		l := find(t, Judge(f), "namespaces")
		if !f.Tries[TryUserNS].OK() || len(f.Host.Refused) != 1 || f.Host.Refused["network"] != syscall.ENOSPC {
			t.Errorf("%+v", f.Host.Refused)
		}
		if l.Status != Missing || l.Blocks || !strings.Contains(l.Text, "network") {
			t.Errorf("%+v", l)
		}
	})
	t.Run("one id from outside", func(t *testing.T) {
		f := factsBelow(t, nested, "true")
		if f.Caller.UID != 0 || f.Caller.IDs != 1 || f.Identity() != RungOneID {
			t.Errorf("identity %s of %+v", f.Identity(), f.Caller)
		}
	})
	t.Run("no new privileges", func(t *testing.T) {
		f := factsBelow(t, []string{"setpriv", "--no-new-privs"}, "true")
		l := find(t, Judge(f), "id map helpers")
		if !f.Caller.NoNewPrivs || f.Tries[TryHelpers].OK() || f.Identity() != RungOneID || l.Status != Missing {
			t.Errorf("%+v, %+v, %+v", f.Caller, f.Tries[TryHelpers], l)
		}
	})
	t.Run("masked proc", func(t *testing.T) {
		f := factsBelow(t, append(nested, "--mount", "--pid", "--fork", "--mount-proc"), "mount -t tmpfs none /proc/bus")
		l := find(t, Judge(f), "proc")
		if f.Tries[TryProc].Errno != syscall.EPERM || l.Status != Degraded || !strings.Contains(l.Fix, "unmask") {
			t.Errorf("%+v, %+v", f.Tries[TryProc], l)
		}
	})
	t.Run("runtime directory of another", func(t *testing.T) {
		f := factsBelow(t, nil, "export XDG_RUNTIME_DIR=/")
		if l := find(t, Judge(f), "runtime directory"); !l.Blocks || f.Caller.RuntimeErr == "" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("store of another", func(t *testing.T) {
		f := factsBelow(t, nil, "export XDG_DATA_HOME=/proc/nowhere")
		if l := find(t, Judge(f), "store"); l.Status != Missing || f.Tries[TryOverlay].Done || !f.Tries[TryAllNS].OK() {
			t.Errorf("%+v, %+v", l, f.Tries)
		}
	})
}

func TestGatherStopsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := Gather(ctx, func(string) string { return "" })
	if f.Tries[TryUserNS].Done {
		t.Errorf("tried %+v", f.Tries)
	}
	if !f.Tries[TryMemfd].Done {
		t.Error("what needs no process was not tried")
	}
}

func TestProbeRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {ProbeName}, {ProbeName, "all"}, {ProbeName, "x"}} {
		if got := RunProbe(args, strings.NewReader(""), &bytes.Buffer{}); got != 2 {
			t.Errorf("RunProbe(%q) = %d", args, got)
		}
	}
}

func TestFirstFreeIsAboveEverybodysRanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(file, []byte("moss:100000:65536\nfern:600000:65536\nbroken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := firstFree(file, file+"-missing"); got != 665536 {
		t.Errorf("first free id is %d", got)
	}
}

func TestErrnoOf(t *testing.T) {
	_, err := os.Open("/nowhere")
	if errnoOf(err) != unix.ENOENT || errnoOf(nil) != 0 || errnoOf(os.ErrClosed) != unix.EIO {
		t.Errorf("%v, %v, %v", errnoOf(err), errnoOf(nil), errnoOf(os.ErrClosed))
	}
}

func BenchmarkGather(b *testing.B) {
	for b.Loop() {
		Gather(b.Context(), os.Getenv)
	}
}
