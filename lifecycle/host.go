package lifecycle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"airplant/internal/nofile"
	"airplant/internal/sys"
	"airplant/lifecycle/landlock"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// host gathers what plans depend on, once.
var host = sync.OnceValues(readHost)

func readHost() (*plan.Host, error) {
	status, err := sys.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	h := &plan.Host{UID: os.Geteuid(), GID: os.Getegid()}
	h.NoFile[0], h.NoFile[1] = nofile.AtStart()
	if h.Ignored, err = maskOf(status, "SigIgn"); err != nil {
		return nil, err
	}
	effective, err := maskOf(status, "CapEff")
	if err != nil {
		return nil, err
	}
	bounding, err := maskOf(status, "CapBnd")
	if err != nil {
		return nil, err
	}
	h.Lacks = ^(bounding & effective)
	h.Privileged = h.UID == 0 && effective&(1<<unix.CAP_SYS_ADMIN) != 0
	if h.UID == 0 {
		if h.Initial, err = initialUserNamespace(); err != nil {
			return nil, err
		}
	}
	groups, err := sys.ReadFile("/proc/self/setgroups")
	if err != nil {
		return nil, err
	}
	h.NoGroups = strings.TrimSpace(string(groups)) == "deny"
	last, err := sys.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, err
	}
	if h.LastCap, err = strconv.Atoi(strings.TrimSpace(string(last))); err != nil {
		return nil, fmt.Errorf("read cap_last_cap: %w", err)
	}
	return h, readCgroup(h)
}

// initialUserNamespace reports whether we are in the host's own: only there
// does every id stand for itself.
func initialUserNamespace() (bool, error) {
	ids, err := sys.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(ids))
	return len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295", err
}

// maskOf reads a hexadecimal line of /proc/self/status.
func maskOf(status []byte, key string) (uint64, error) {
	_, after, ok := bytes.Cut(status, []byte("\n"+key+":\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	mask, err := strconv.ParseUint(string(line), 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("/proc/self/status: no line %s", key)
	}
	return mask, nil
}

func readCgroup(h *plan.Host) error {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil //nolint:nilerr // a host without cgroups has no unified hierarchy either
	}
	h.Unified = true
	text, err := sys.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			h.Cgroup = strings.TrimSpace(p)
		}
	}
	return err
}

// modules finds the security modules that a configuration has rules or a label
// for.
func modules(spec *specs.Spec, h *plan.Host) error {
	p, l := spec.Process, spec.Linux
	if _, ok := spec.Annotations[landlock.Annotation]; ok {
		h.Landlock = sys.LandlockVersion()
	}
	if p != nil && p.ApparmorProfile != "" {
		text, err := sys.ReadFile("/sys/module/apparmor/parameters/enabled")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		h.AppArmor = strings.TrimSpace(string(text)) == "Y"
	}
	if p != nil && p.SelinuxLabel != "" || l != nil && l.MountLabel != "" {
		text, err := sys.ReadFile("/proc/filesystems")
		if err != nil {
			return err
		}
		h.SELinux = strings.Contains(string(text), "\tselinuxfs\n")
	}
	return nil
}

// maxPasswd bounds what is read of an image's /etc/passwd.
const maxPasswd = 1 << 20

// homeOf finds the home directory of a user in a root filesystem, "/" where
// there is none. The file is foreign: it is opened in its root, must be a
// regular file, and is read to a limit.
func homeOf(uid uint32, root string) string {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "/"
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, "etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "/"
	}
	f := os.NewFile(uintptr(fd), "etc/passwd")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return "/"
	}
	return homeIn(io.LimitReader(f, maxPasswd), uid)
}

func homeIn(passwd io.Reader, uid uint32) string {
	for s := bufio.NewScanner(passwd); s.Scan(); {
		f := strings.Split(s.Text(), ":")
		if len(f) >= 6 && f[2] == strconv.FormatUint(uint64(uid), 10) && f[5] != "" {
			return f[5]
		}
	}
	return "/"
}
