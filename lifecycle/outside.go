package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"airplant/lifecycle/criu"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What of a container lies outside of it: mounts of the host's files, and
// namespaces that it shares. CRIU leaves them out of its images, under a name,
// and takes them from the host at restore.

const nullDevice = "/dev/null"

func mounts(file string) ([]*mountinfo.Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

func hasMount(list []*mountinfo.Info, id int) bool {
	return slices.ContainsFunc(list, func(m *mountinfo.Info) bool { return m.ID == id })
}

// ownInstances are file systems of which a container's mounts are its own, or
// made anew, even if the host has the same instance.
var ownInstances = []string{"proc", "sysfs", "mqueue", "cgroup", "cgroup2"}

// externalMounts names the mounts of a container that show files of the host:
// those of file systems that the host has mounted too. The name is the mount
// point, but for the null device, which masks.
func externalMounts(pid int) ([]criu.Pair, error) {
	inside, err := mounts(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	outside, err := mounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	type device struct{ major, minor int }
	ours := map[device]bool{}
	for _, m := range outside {
		ours[device{m.Major, m.Minor}] = true
	}
	var list []criu.Pair
	for _, m := range inside {
		// What lies on a mount of the host's came with it.
		on := slices.ContainsFunc(list, func(p criu.Pair) bool { return strings.HasPrefix(m.Mountpoint, p.Key+"/") })
		own := slices.Contains(ownInstances, m.FSType) || !ours[device{m.Major, m.Minor}]
		if m.Mountpoint == "/" || own && !on {
			continue
		}
		name := m.Mountpoint
		if filepath.Base(m.Root) == filepath.Base(nullDevice) && isNull(fmt.Sprintf("/proc/%d/root%s", pid, m.Mountpoint)) {
			name = nullDevice
		}
		list = append(list, criu.Pair{Key: m.Mountpoint, Value: name})
	}
	return list, nil
}

func isNull(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// sources says where on the host the external mounts of a configuration come
// from. More than there are is no harm.
func sources(spec *specs.Spec, bundle string, root *os.File) ([]criu.Pair, error) {
	list := []criu.Pair{{Key: nullDevice, Value: nullDevice}}
	for _, name := range []string{"full", "random", "tty", "urandom", "zero"} {
		list = append(list, criu.Pair{Key: "/dev/" + name, Value: "/dev/" + name})
	}
	for _, d := range spec.Linux.Devices {
		list = append(list, criu.Pair{Key: d.Path, Value: d.Path})
	}
	outside, err := mounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for _, m := range spec.Mounts {
		from := m.Source
		switch {
		case m.Type == "cgroup":
			from = "/sys/fs/cgroup" // where it is the host's, version 1
		case !isBind(&m):
			continue
		case !filepath.IsAbs(from):
			from = filepath.Join(bundle, from)
		}
		to := resolved(root, m.Destination)
		list = append(list, criu.Pair{Key: to, Value: from})
		for _, o := range outside {
			if below, ok := strings.CutPrefix(o.Mountpoint, filepath.Clean(from)+"/"); ok {
				list = append(list, criu.Pair{Key: filepath.Join(to, below), Value: o.Mountpoint})
			}
		}
	}
	return list, nil
}

func isBind(m *specs.Mount) bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// inRoot opens a path of a root filesystem, whose links lead nowhere else.
func inRoot(root *os.File, path string, flags uint64) (int, error) {
	return unix.Openat2(int(root.Fd()), strings.TrimPrefix(filepath.Clean(path), "/"), &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// resolved is what a path of a root filesystem comes to without links; one that
// is not there comes to itself.
func resolved(root *os.File, path string) string {
	clean := filepath.Clean("/" + path)
	fd, err := inRoot(root, clean, unix.O_PATH)
	if err != nil {
		return clean
	}
	defer unix.Close(fd)
	top, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	there, err2 := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	below, ok := strings.CutPrefix(there, strings.TrimSuffix(top, "/")+"/")
	if err != nil || err2 != nil || !ok {
		return clean
	}
	return "/" + below
}

// mountPoints makes the mount points that a root filesystem lacks, but for those
// on a tmpfs, whose files are in the images.
func mountPoints(spec *specs.Spec, bundle string, root *os.File) error {
	for n, m := range spec.Mounts {
		onTmpfs := slices.ContainsFunc(spec.Mounts[:n], func(t specs.Mount) bool {
			return (t.Type == "tmpfs" || isBind(&t) || slices.Contains(ownInstances, t.Type)) &&
				strings.HasPrefix(filepath.Clean(m.Destination)+"/", filepath.Clean(t.Destination)+"/")
		})
		if onTmpfs {
			continue
		}
		file := false
		if isBind(&m) {
			from := m.Source
			if !filepath.IsAbs(from) {
				from = filepath.Join(bundle, from)
			}
			st, err := os.Stat(from)
			if err != nil {
				return fmt.Errorf("bind %s on %s: %w", m.Source, m.Destination, err)
			}
			file = !st.IsDir()
		}
		if err := mountPoint(root, m.Destination, file); err != nil {
			return fmt.Errorf("make the mount point %s: %w", m.Destination, err)
		}
	}
	return nil
}

// mountPoint makes a directory and those above it, or a file.
func mountPoint(root *os.File, path string, file bool) error {
	parts := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	for n := range parts {
		fd, err := inRoot(root, strings.Join(parts[:n+1], "/"), unix.O_PATH)
		if err == nil {
			_ = unix.Close(fd)
			continue
		}
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		above, err := inRoot(root, "./"+strings.Join(parts[:n], "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		if file && n == len(parts)-1 {
			err = unix.Mknodat(above, parts[n], unix.S_IFREG|0o644, 0)
		} else {
			err = unix.Mkdirat(above, parts[n], 0o755)
		}
		if err := errors.Join(err, unix.Close(above)); err != nil {
			return err
		}
	}
	return nil
}

// shared is a namespace that a container did not make.
type shared struct {
	specs.LinuxNamespace
	file string // in /proc/PID/ns
	key  string // CRIU's name for what comes from outside
}

// sharedNamespaces are those that CRIU can leave out of its images. The names
// are runc's.
func sharedNamespaces(spec *specs.Spec) (list []shared) {
	for _, n := range spec.Linux.Namespaces {
		switch {
		case n.Path == "":
		case n.Type == specs.NetworkNamespace:
			list = append(list, shared{n, "net", "extRootNetNS"})
		case n.Type == specs.PIDNamespace:
			list = append(list, shared{n, "pid", "extRootPidNS"})
		}
	}
	return list
}
