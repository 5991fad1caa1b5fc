package fsfuse

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// own are directories that a container has of its own: they are empty, for the
// container's mounts. /run is among them: the host's sockets stay the host's.
var own = []string{"/proc", "/sys", "/dev", "/run"}

// pseudo are file systems that show the kernel and hold no files: as lower
// layers they are refused, and to containers they are not given.
var pseudo = []string{
	"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs",
	"devpts", "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore",
	"rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
}

// HostRoot takes the host's root in parts: each directory without mounts below
// it is one overlay, and one with mounts is made anew around its entries. What
// we cannot read is left out.
func HostRoot() ([]Part, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	types := map[string]string{}
	for _, m := range mounts {
		types[m.Mountpoint] = m.FSType // the last one covers the others
	}
	return parts("/", types)
}

// parts lists what is in a directory; mounts are the file systems by their
// mount points.
func parts(dir string, mounts map[string]string) (list []Part, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			continue // it has gone, or is not for us
		}
		p := Part{Path: path, Mode: st.Mode & 0o7777}
		switch {
		case e.Type() == fs.ModeSymlink:
			if p.Link, err = os.Readlink(path); err != nil {
				continue
			}
		case !e.IsDir():
			continue
		case slices.Contains(own, path), slices.Contains(pseudo, mounts[path]):
			p.Mode = 0o755
		case !mountsBelow(path, mounts):
			p.Overlay = unix.Access(path, unix.R_OK|unix.X_OK) == nil
		default:
			more, err := parts(path, mounts)
			if err != nil {
				more = nil
			}
			list = append(append(list, p), more...)
			continue
		}
		list = append(list, p)
	}
	return list, nil
}

func mountsBelow(dir string, mounts map[string]string) bool {
	for m := range mounts {
		if strings.HasPrefix(m, dir+"/") {
			return true
		}
	}
	return false
}
