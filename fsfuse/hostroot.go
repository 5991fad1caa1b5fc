package fsfuse

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// own are directories that a container has of its own: they are empty, for the
// container's mounts. /run is among them: the host's sockets stay the host's.
var own = map[string]bool{"/proc": true, "/sys": true, "/dev": true, "/run": true}

// HostRoot takes the host's root in parts: each directory without mounts below
// it is one overlay, and one with mounts is made anew around its entries. What
// we cannot read is left out.
func HostRoot() ([]Part, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	points := make([]string, len(mounts))
	for n, m := range mounts {
		points[n] = m.Mountpoint
	}
	return parts("/", points)
}

func parts(dir string, mounts []string) (list []Part, err error) {
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
		case own[path]:
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

func mountsBelow(dir string, mounts []string) bool {
	for _, m := range mounts {
		if strings.HasPrefix(m, dir+"/") {
			return true
		}
	}
	return false
}
