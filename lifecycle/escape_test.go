package lifecycle_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// unharmed sees that our program is what it was.
func unharmed(t *testing.T) {
	t.Helper()
	sum := func() string {
		text, err := os.ReadFile(testenv.Binary(t))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(text))
	}
	before := sum()
	t.Cleanup(func() {
		if sum() != before {
			t.Error("our program has been changed")
		}
	})
}

// TestProcSelfExe: what a container makes us execute by way of /proc is the
// sealed program of its own plan, never ours (CVE-2019-5736), which would say
// its version here.
func TestProcSelfExe(t *testing.T) {
	unharmed(t)
	everybody(t, func(t *testing.T, c *caller) {
		for _, args := range [][]string{
			{"/proc/self/exe", "oci", "--version"},
			{"/proc/1/exe", "oci", "--version"},
			{"/script", "oci"},
			{"/link", "oci", "--version"},
		} {
			b := c.bundle(t, args...)
			b.write("script", "#!/proc/self/exe --version\n")
			b.link("/proc/self/exe", "link")
			if r := b.run(); r.status != 1 || r.out != "" {
				t.Errorf("%v: %+v", args, r)
			}
			b.nothingLeft()
		}
	})
}

// TestOverwriteOfCreated: the program that waits in a created container is
// sealed. Root of the container, which is its owner, tries to write it.
func TestOverwriteOfCreated(t *testing.T) {
	unharmed(t)
	c := oneID(t)
	first := c.bundle(t, "true")
	first.save()
	first.must("create", "--bundle", first.dir, "c")
	defer first.must("delete", "c")
	second := c.script(t, `for f in /proc/[0-9]*/exe; do case $(readlink $f) in /memfd:*) echo found; (echo x >$f) 2>&1; (echo x >>$f) 2>&1;; esac; done`)
	second.join(first.status().Pid, "user", "pid")
	if got := second.says(); !strings.HasPrefix(got, "found\n") || strings.Contains(strings.ReplaceAll(got, "can't create", ""), "x\n") ||
		strings.Count(got, "can't create")+strings.Count(got, "write error") != 2*strings.Count(got, "found") {
		t.Errorf("%s", got)
	}
}

// TestExecIsNotSeen: while processes are executed in a container, its root
// looks at all that it sees of them, and finds nothing but its own programs
// and sealed ones (CVE-2016-9962).
func TestExecIsNotSeen(t *testing.T) {
	unharmed(t)
	c := oneID(t)
	b := c.script(t, `
		while :; do
			for p in /proc/[0-9]*; do
				case $p in /proc/1) continue;; esac
				e=$(readlink $p/exe) && case $e in /bin/busybox|/memfd:airplant*) ;; *) echo exe $e;; esac
				r=$(readlink $p/root) && case $r in /) ;; *) echo root $r;; esac
				for f in $p/fd/*; do t=$(readlink $f) && case $t in /dev/*|/proc*|pipe:*|socket:*|/log|/) ;; *) echo $f $t;; esac; done
			done
		done 2>/dev/null >/log`)
	b.spec.Root.Readonly = false
	b.spec.Process.Capabilities = caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN")
	b.save()
	b.must("run", "-d", "--bundle", b.dir, "c")
	defer b.must("delete", "-f", "c")
	b.await("log", func() bool { _, err := os.Stat(b.root("log")); return err == nil })
	for range 40 {
		if r := do(t, b.oci("exec", "c", "true")); r.status != 0 {
			t.Fatalf("%+v", r)
		}
	}
	if text, err := os.ReadFile(b.root("log")); err != nil || len(text) > 0 {
		t.Errorf("seen: %s, %v", text, err)
	}
}

// TestWorkingDirectoryOfDescriptors: no descriptor of the runtime or its
// caller becomes the working directory (CVE-2024-21626).
func TestWorkingDirectoryOfDescriptors(t *testing.T) {
	c := oneID(t)
	outside := c.user.TempDir(t)
	folder, err := os.Open(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, preserve := range []string{"--preserve-fds=0", "--preserve-fds=2"} {
		for n := range 24 {
			for _, form := range []string{"/proc/self/fd/%d", "/proc/self/fd/%d/../../..", "/link%d"} {
				if n%4 > 0 && form != "/proc/self/fd/%d" {
					continue // enough of them
				}
				b := c.bundle(t, "ls", "-a", ".")
				b.spec.Process.Cwd = fmt.Sprintf(form, n)
				b.link(fmt.Sprintf("/proc/self/fd/%d", n), fmt.Sprintf("link%d", n))
				b.save()
				cmd := b.oci("run", preserve, "--bundle", b.dir, "c")
				for range 8 {
					cmd.ExtraFiles = append(cmd.ExtraFiles, folder)
				}
				if r := do(t, cmd); r.status != 1 || r.out != "" || !strings.Contains(r.err, "the working directory "+b.spec.Process.Cwd) {
					t.Errorf("%s: %+v", b.spec.Process.Cwd, r)
				}
				b.nothingLeft()
			}
		}
	}
}

// TestCommandByDescriptors is the same for the program.
func TestCommandByDescriptors(t *testing.T) {
	c := oneID(t)
	root, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for n := 3; n < 20; n++ {
		b := c.bundle(t, fmt.Sprintf("/proc/self/fd/%d/bin/sh", n), "-c", "echo escaped")
		b.save()
		cmd := b.oci("run", "--bundle", b.dir, "c")
		for range 8 {
			cmd.ExtraFiles = append(cmd.ExtraFiles, root)
		}
		if r := do(t, cmd); r.status != 1 || r.out != "" {
			t.Errorf("%v: %+v", b.spec.Process.Args, r)
		}
	}
}

// TestLinksAsProcAndSys: an image cannot say where proc and sysfs go
// (CVE-2019-19921, CVE-2023-27561).
func TestLinksAsProcAndSys(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		for _, name := range []string{"proc", "sys"} {
			b := c.bundle(t, "true")
			b.check(os.Remove(b.root(name)))
			b.mkdir("other")
			b.link("/other", name)
			b.fails("/" + name + ": openat2: too many levels of symbolic links")
		}
	})
}

// TestLinksOutOfTheRoot: wherever links of an image lead, mounts stay in it.
func TestLinksOutOfTheRoot(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		outside := c.user.TempDir(t)
		for _, target := range []string{outside, strings.Repeat("../", 20) + outside, "/..", "loop/../" + strings.Repeat("../", 10) + outside} {
			b := c.script(t, "cat /escape/x/file")
			b.link(target, "escape")
			b.mkdir("loop")
			b.check(os.MkdirAll(b.root(outside), 0o755)) // where it leads inside
			dir := b.host()
			b.check(os.WriteFile(dir+"/file", []byte("inside\n"), 0o644))
			b.mount("bind", dir, "/escape/x")
			if got := b.says(); got != "inside\n" {
				t.Errorf("%s: %q", target, got)
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Fatalf("%s: outside: %v, %v", target, entries, err)
			}
		}
	})
}

// TestImageHasNullAsALink: what is masked is hidden by the host's null device
// and not by what an image has in its place (CVE-2025-31133).
func TestImageHasNullAsALink(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "cat /etc/masked; ls /etc/hidden")
		b.spec.Mounts = withoutMount(b.spec, "/dev")
		b.spec.Mounts, b.spec.Linux.MaskedPaths = b.spec.Mounts[:1], []string{"/etc/masked", "/etc/hidden"}
		b.link("../etc/target", "dev/null")
		b.write("etc/target", "target\n")
		b.write("etc/masked", "secret\n")
		b.mkdir("etc/hidden/secret")
		if got := b.says(); got != "" {
			t.Errorf("%q", got)
		}
		if text, err := os.ReadFile(b.root("etc/target")); err != nil || string(text) != "target\n" {
			t.Errorf("the target: %q, %v", text, err)
		}
	})
}

// TestSwappedWhileMounting: somebody exchanges a directory of the root
// filesystem for a link out of it, all the time (CVE-2021-30465).
func TestSwappedWhileMounting(t *testing.T) {
	c := oneID(t)
	outside := c.user.TempDir(t)
	b := c.bundle(t, "true")
	b.mkdir("a")
	b.link(outside, "b")
	b.spec.Mounts = append(b.spec.Mounts[:2:2], specs.Mount{Type: "bind", Source: "/bin", Destination: "/a/x/y"}, specs.Mount{Type: "tmpfs", Destination: "/a/t"})
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths = []string{"/a/x"}, nil
	b.save()
	stop, stopped := make(chan bool), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, b.root("a"), unix.AT_FDCWD, b.root("b"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	good, bad := 0, 0
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond || good+bad < 10 && time.Since(begun) < time.Minute; {
		if do(t, b.oci("run", "--bundle", b.dir, "c")).status == 0 {
			good++
		} else {
			bad++
		}
	}
	close(stop)
	t.Logf("%d swaps, %d containers, and %d that could not be made", <-stopped, good, bad)
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if good+bad < 10 {
		t.Errorf("only %d containers", good+bad)
	}
	b.nothingLeft()
}

// TestNoProcessOfOurs: once a detached container runs, it is alone.
func TestNoProcessOfOurs(t *testing.T) {
	b := subids(t).bundle(t, "sleep", "1000")
	b.save()
	b.must("run", "-d", "--bundle", b.dir, "c")
	defer b.must("delete", "-f", "c")
	all, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range all {
		if path, err := os.Readlink(exe); err == nil && below(exe, os.Getppid()) && (path == testenv.Binary(t) || strings.HasPrefix(path, "/memfd:airplant")) {
			t.Errorf("%s is %s", exe, path)
		}
	}
	if got := processes(filepath.Base(b.dir)); len(got) != 1 || !strings.Contains(got[0], "sleep 1000") {
		t.Errorf("processes: %v", got)
	}
}

// below reports whether a process, by a path in its folder of /proc, descends
// from another; the machine may run the tests of somebody else too.
func below(path string, ancestor int) bool {
	for pid := strings.Split(path, "/")[2]; pid != "0" && pid != ""; {
		if pid == strconv.Itoa(ancestor) {
			return true
		}
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			return false
		}
		pid = fields(string(status), "PPid")
	}
	return false
}
