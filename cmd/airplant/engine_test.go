package main_test

import (
	"fmt"
	"os"
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
		testenv.Root(t)
		u.RerunV2(t)
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
