// Package fsfuse decides what root filesystems are made of.
//
// There is one driver so far, the kernel's overlayfs, mounted by the
// container's own program in its user namespace (Linux 5.11, option userxattr).
// This package describes the mounts; package lifecycle/plan makes system calls
// of them.
//
// Known hazards: the upper directory of an overlay may not lie on an overlay,
// nor below the lower one. The kernel refuses a lower directory with mounts
// below it that the namespace inherited, since an overlay would uncover what
// they hide; so the host's own root is taken in parts (see [HostRoot]).
package fsfuse

import (
	"os"

	"golang.org/x/sys/unix"
)

// Overlay is a root filesystem of layers, which keeps apart what the container
// writes.
type Overlay struct {
	Lower []string // directories, the top one first; may be none
	// Upper and Work are directories that do not exist yet. Without Upper,
	// changes go to a tmpfs and are lost.
	Upper, Work string
	// Mode are the permissions of the root directory, which overlayfs takes
	// from the upper one.
	Mode uint32
	// At is an empty directory to mount on.
	At string
	// Parts is a root filesystem of several overlays, in place of Lower and
	// with changes on a tmpfs: parents come before what is in them.
	Parts []Part
}

// NewOverlay is an overlay of layers whose root directory has the permissions
// that it has in the top one.
func NewOverlay(lower []string) (*Overlay, error) {
	o := &Overlay{Lower: lower, Mode: 0o755}
	if len(lower) > 0 {
		var st unix.Stat_t
		if err := unix.Stat(lower[0], &st); err != nil {
			return nil, &os.PathError{Op: "stat", Path: lower[0], Err: err}
		}
		o.Mode = st.Mode & 0o7777
	}
	return o, nil
}

// Part is one entry of a root filesystem that is taken in parts.
type Part struct {
	Path string // absolute, on the host and in the container
	Mode uint32 // permissions of a directory
	Link string // the target, for a symbolic link
	// Overlay: everything below is copy-on-write. Otherwise the directory is
	// new and empty, and other parts may be in it.
	Overlay bool
}
