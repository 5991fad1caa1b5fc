package doctor

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"airplant/userns"
	"golang.org/x/sys/unix"
)

func caller(getenv func(string) string) Caller {
	c := Caller{UID: os.Geteuid(), GID: os.Getegid(), IDs: mappedIDs("/proc/self/uid_map")}
	c.Login = userns.Login(c.UID)
	c.Exe, _ = os.Executable() // empty where /proc is not mounted
	c.Seccomp, c.NoNewPrivs = restrictions("/proc/self/status")
	c.RuntimeDir = getenv("XDG_RUNTIME_DIR")
	if c.RuntimeDir != "" {
		c.RuntimeErr = unusable(c.RuntimeDir, c.UID)
	}
	return c
}

// unusable says why a directory cannot be a runtime directory, or "".
func unusable(dir string, uid int) string {
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	switch {
	case err != nil:
		return err.Error()
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "not a directory"
	case int(st.Uid) != uid:
		return fmt.Sprintf("belongs to uid %d", st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Sprintf("others may write to it (mode %04o)", st.Mode&0o7777)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return err.Error()
	}
	return ""
}

// mappedIDs counts the ids that a uid_map has.
func mappedIDs(file string) (total uint64) {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if len(field) != 3 {
			continue
		}
		if n, err := strconv.ParseUint(field[2], 10, 32); err == nil {
			total += n
		}
	}
	return min(total, math.MaxUint32)
}

// restrictions reads two lines of proc_pid_status(5).
func restrictions(file string) (seccomp, noNewPrivs bool) {
	f, err := os.Open(file)
	if err != nil {
		return false, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ":\t"); name {
		case "Seccomp":
			seccomp = value == "2"
		case "NoNewPrivs":
			noNewPrivs = value == "1"
		}
	}
	return seccomp, noNewPrivs
}

func host() Host {
	h := Host{Systemd: booted(), Knobs: map[string]int{}, Devices: map[string]bool{}}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		h.Release, h.Machine = unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:])
	}
	for _, name := range []string{knobDebian, knobAppArmor, knobMaxUser, knobMemfd} {
		text := readFirst("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if n, err := strconv.Atoi(text); err == nil {
			h.Knobs[name] = n
		}
	}
	for _, name := range []string{devFUSE, devTUN} {
		var st unix.Stat_t
		h.Devices[name] = unix.Stat(name, &st) == nil
	}
	if readFirst("/sys/module/apparmor/parameters/enabled") == "Y" {
		h.AppArmor = readFirst("/proc/self/attr/apparmor/current")
		if h.AppArmor == "" {
			h.AppArmor = readFirst("/proc/self/attr/current")
		}
		if h.AppArmor == "" {
			h.AppArmor = "unknown"
		}
	}
	return h
}

// fileSystem names the file system of a directory, where it matters.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "an unknown file system"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("file system %#x", st.Type)
}

const cgroupRoot = "/sys/fs/cgroup"

func cgroup(c Caller, getenv func(string) string) Cgroup {
	g := Cgroup{Layout: cgroupLayout(cgroupRoot)}
	root := cgroupRoot
	switch g.Layout {
	case "hybrid":
		root += "/unified"
	case "v1", "none":
		return g
	}
	g.Dir = filepath.Join(root, ownCgroup("/proc/self/cgroup"))
	g.Writable = writable(g.Dir) && writable(filepath.Join(g.Dir, "cgroup.procs"))
	g.Systemd = userSystemd(c, getenv)
	g.Controllers = strings.Fields(readFirst(filepath.Join(g.Dir, "cgroup.controllers")))
	if g.Systemd != "" && !g.Writable {
		service := fmt.Sprintf("user.slice/user-%d.slice/user@%d.service/cgroup.controllers", c.UID, c.UID)
		g.Controllers = strings.Fields(readFirst(filepath.Join(root, service)))
	}
	return g
}

// cgroupLayout tells the three ways of mounting cgroups apart, cgroups(7).
func cgroupLayout(root string) string {
	var st unix.Statfs_t
	if unix.Statfs(root, &st) != nil {
		return "none"
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "v2"
	}
	if unix.Statfs(root+"/unified", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "hybrid"
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) == 0 {
		return "none" // an empty directory of sysfs, or of a container
	}
	return "v1"
}

// ownCgroup is our path in the version 2 hierarchy.
func ownCgroup(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "/"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return path
		}
	}
	return "/"
}

func writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

// userSystemd returns the socket of the user's systemd, or of the bus that
// leads to it, if one accepts connections.
func userSystemd(c Caller, getenv func(string) string) string {
	var sockets []string
	if c.RuntimeDir != "" {
		sockets = append(sockets, filepath.Join(c.RuntimeDir, "systemd/private"))
	}
	// A bus leads to systemd only on a host that systemd started.
	if booted() {
		if c.RuntimeDir != "" {
			sockets = append(sockets, filepath.Join(c.RuntimeDir, "bus"))
		}
		if path, ok := strings.CutPrefix(getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path="); ok {
			path, _, _ = strings.Cut(path, ",")
			sockets = append(sockets, path)
		}
	}
	for _, path := range sockets {
		if answersOn(path) {
			return path
		}
	}
	return ""
}

func booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// answersOn reports whether somebody listens on a socket. Package net would
// do, at the price of its package init in every command.
func answersOn(path string) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == nil
}
