package main_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

// TestPodman lets podman run its containers with us, on this host and on one
// that has cgroup version 2 only.
func TestPodman(t *testing.T) {
	openTUN(t)
	t.Run("host", func(t *testing.T) { tell(t, "podman*.txtar") })
	t.Run("cgroup2", func(t *testing.T) {
		u := testenv.Subids(t)
		var fs unix.Statfs_t
		if err := unix.Statfs("/sys/fs/cgroup", &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC && os.Geteuid() == u.UID {
			tell(t, "podman*.txtar")
			return
		}
		rerunV2(t, u)
	})
}

// openTUN lets all accounts use /dev/net/tun, as most distributions do, in the
// mount namespace of root's tests. Elsewhere the host's is left alone.
func openTUN(t *testing.T) {
	t.Helper()
	ours, err := os.Readlink("/proc/self/ns/mnt")
	theirs, parentErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if os.Geteuid() != 0 || err != nil || parentErr != nil || ours == theirs {
		return
	}
	if _, err := os.Stat("/dev/net"); err != nil {
		return
	}
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"); err != nil {
		t.Fatalf("mount on /dev/net: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/dev/net", unix.MNT_DETACH); err != nil {
			t.Errorf("unmount /dev/net: %v", err)
		}
	})
	// Its number is 10, 200 everywhere (the kernel's admin-guide/devices.txt).
	if err := unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatalf("make /dev/net/tun: %v", err)
	}
	if err := os.Chmod("/dev/net/tun", 0o666); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// rerunV2 runs the calling test again as the account, in a cgroup of its own of
// a host with version 2 alone.
func rerunV2(t *testing.T, u testenv.User) {
	t.Helper()
	testenv.Root(t)
	testenv.Binary(t) // the account cannot build it
	dir := u.TempDir(t)
	here := filepath.Join(dir, "cmd", "airplant")
	program := filepath.Join(dir, "test")
	if err := os.MkdirAll(here, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(here, stories), os.DirFS(stories)); err != nil {
		t.Fatal(err)
	}
	if err := copySelf(program); err != nil {
		t.Fatal(err)
	}
	cmd := u.V2Command(t, program, "-test.v", "-test.count=1", "-test.run=^TestPodman$/^cgroup2$")
	cmd.Dir = here
	out, err := cmd.CombinedOutput()
	t.Logf("as %s:\n%s", u.Name, bytes.TrimSpace(out))
	switch {
	case err != nil:
		t.Fatalf("as %s: %v", u.Name, err)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")):
		t.SkipNow() //nolint:forbidigo // counted by the rerun
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Fatalf("as %s: %s was not run", u.Name, t.Name())
	}
}

// copySelf copies this test binary.
func copySelf(to string) (err error) {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
