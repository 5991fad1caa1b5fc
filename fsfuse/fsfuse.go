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

// Overlay is a root filesystem of layers, which keeps apart what the container
// writes.
type Overlay struct {
	Lower []string // directories, the top one first
	// Upper and Work are directories that do not exist yet. Without Upper,
	// changes go to a tmpfs and are lost.
	Upper, Work string
	// At is an empty directory to mount on.
	At string
	// Parts is a root filesystem of several overlays, in place of Lower and
	// with changes on a tmpfs: parents come before what is in them.
	Parts []Part
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
