// Package layer applies image layers to directories, by the rules of the OCI
// image-spec (layer.md), in the form that overlayfs wants of a lower
// directory mounted with userxattr.
//
// A layer is unpacked in two steps. [Unpack] reads the tar stream into an
// empty directory and needs nothing but that stream, so that the layers of an
// image unpack side by side. [Pending.Finish] then settles what depends on the
// layers below: hard links to their files, owners and modes of directories
// that the tar only implies, and which whiteouts hide anything.
//
// Every path of the tar is resolved by openat2(2) below a descriptor of the
// root with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; symbolic links in parent
// directories are read and followed here, clamped to the root, because a
// link such as /var/run -> /run is part of real images. The last component is
// never followed.
//
// A whiteout becomes a character device 0:0, which mknod(2) allows in a user
// namespace since Linux 5.8, and an opaque directory carries
// user.overlay.opaque. Extended attributes of an image that would steer
// overlayfs are stored escaped (user.overlay.overlay.*), never believed.
//
// Not done here: device nodes, which no user namespace can make, are listed in
// [Result.Skipped] and leave a whiteout; SELinux labels, IMA signatures and
// trusted.* attributes are dropped; the directory is not synced.
//
// Hazards: the caller should be uid 0 in a user namespace that maps every id
// of the image (see [Options.IgnoreOwner] otherwise), and nobody else should
// write to the root meanwhile: a swapped directory cannot lead outside the
// root, but the result may then be anything.
package layer

import (
	"errors"
	"fmt"
)

// Limits on one layer; a larger one is refused. They are far above what real
// images hold and bound the time, memory and disk that a hostile one takes.
const (
	MaxEntries   = 10 << 20  // tar entries
	MaxNodes     = 1 << 20   // directories and whiteouts: these are kept in memory
	MaxBytes     = 256 << 30 // bytes of all files, holes included
	MaxDepth     = 512       // directories above an entry
	maxPath      = 4096      // PATH_MAX: nobody could open more
	maxDeferred  = 1 << 16   // hard links to lower layers
	maxSkipped   = 1 << 16   // recorded omissions
	maxLinks     = 40        // symbolic links in one path, as in the kernel
	maxLinkBytes = 4095      // length of a symbolic link's target
)

// Errors that a caller may want to tell apart.
var (
	// ErrInvalid means that the tar breaks the rules or tries to leave its root.
	ErrInvalid = errors.New("invalid layer")
	// ErrLimit means that the layer exceeds one of the limits of this package.
	ErrLimit = errors.New("layer too large")
)

// Options says how to apply a layer.
type Options struct {
	// IgnoreOwner leaves every file with the owner that it is created with
	// and writes the true one into the attribute user.containers.override_stat
	// of files and directories ("uid:gid:mode", the format of
	// containers/storage and fuse-overlayfs). Symbolic links and fifos
	// cannot carry it; they go to Result.Skipped.
	IgnoreOwner bool
}

// Result tells what was unpacked.
type Result struct {
	Entries int64 // entries of the tar
	Bytes   int64 // bytes in regular files
	// Skipped lists what the directory cannot express; a later commit of
	// the image needs it.
	Skipped []Skip
}

// Skip is an entry, or a part of one, that was left out.
type Skip struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`         // "device", "owner" or "xattr"
	Type   string `json:"type,omitempty"` // "char" or "block", of a device
	Major  int64  `json:"major,omitempty"`
	Minor  int64  `json:"minor,omitempty"`
	Mode   int64  `json:"mode,omitempty"`
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
	Xattr  string `json:"xattr,omitempty"`
}

// UnmappedError says that the owner of an entry has no id in this user
// namespace.
type UnmappedError struct {
	Path     string
	UID, GID int
	Err      error
}

func (e *UnmappedError) Error() string {
	return fmt.Sprintf("owner %d:%d of %q is not mapped in this user namespace (are subordinate ids missing?): %v",
		e.UID, e.GID, e.Path, e.Err)
}

func (e *UnmappedError) Unwrap() error { return e.Err }

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
