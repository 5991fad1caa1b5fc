package layer

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	paxXattr      = "SCHILY.xattr."
	overrideXattr = "user.containers.override_stat"
	capsXattr     = "security.capability"
)

// describe gives a directory the metadata of its entry. Mode and times wait
// for Finish: creating files inside would change the times, and a mode
// without write permission would stop a caller that has no capabilities.
func (p *Pending) describe(d *dir, h *tar.Header) error {
	f, err := d.openBeneath("", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.close()
	d.node.kind = described
	d.node.mode = uint32(h.Mode & 0o7777)
	d.node.atime, d.node.mtime = atime(h), mtime(h)
	if err := p.own(f, h, d.path, true); err != nil {
		return err
	}
	return p.xattrs(h, d.path, func(k string, v []byte) error { return unix.Fsetxattr(int(f), k, v, 0) })
}

// special sets the metadata of a symbolic link or a fifo.
func (p *Pending) special(d *dir, base string, h *tar.Header) error {
	f, err := d.openBeneath(base, unix.O_PATH)
	if err != nil {
		return err
	}
	defer f.close()
	if err := p.own(f, h, d.join(base), false); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		// The name was just created here and d is not shared, so that it
		// cannot have become a link; fchmodat2(2) needs Linux 6.6.
		if err := unix.Fchmodat(int(d.fd), base, uint32(h.Mode&0o7777), 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	if err := p.xattrs(h, d.join(base), func(k string, v []byte) error { return unix.Lsetxattr(d.fd.path(base), k, v, 0) }); err != nil {
		return err
	}
	return d.setTimes(base, atime(h), mtime(h))
}

// own changes the owner of f, which may be an O_PATH descriptor.
func (p *Pending) own(f fd, h *tar.Header, name string, hasXattrs bool) error {
	if p.opts.IgnoreOwner {
		return p.pretend(f, h, name, hasXattrs)
	}
	return chown(f, h.Uid, h.Gid, name)
}

func chown(f fd, uid, gid int, name string) error {
	if int64(uint32(uid)) != int64(uid) || int64(uint32(gid)) != int64(gid) || uint32(uid) == ^uint32(0) || uint32(gid) == ^uint32(0) {
		return invalidf("owner %d:%d", uid, gid)
	}
	err := unix.Fchownat(int(f), "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		return &UnmappedError{Path: name, UID: uid, GID: gid, Err: err}
	}
	if err != nil {
		return fmt.Errorf("chown to %d:%d: %w", uid, gid, err)
	}
	return nil
}

func (p *Pending) pretend(f fd, h *tar.Header, name string, hasXattrs bool) error {
	if h.Uid == 0 && h.Gid == 0 {
		return nil
	}
	if !hasXattrs {
		return p.skip(Skip{Path: name, Reason: "owner", Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid})
	}
	v := fmt.Sprintf("%d:%d:0%o", h.Uid, h.Gid, h.Mode&0o7777)
	if err := unix.Fsetxattr(int(f), overrideXattr, []byte(v), 0); err != nil {
		return fmt.Errorf("record owner %d:%d: %w", h.Uid, h.Gid, err)
	}
	return nil
}

// xattrs sets the extended attributes of an entry.
func (p *Pending) xattrs(h *tar.Header, name string, set func(string, []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		attr, ok := strings.CutPrefix(k, paxXattr)
		if !ok {
			continue
		}
		stored := storedXattr(attr)
		if stored == "" {
			if err := p.skip(Skip{Path: name, Reason: "xattr", Xattr: attr}); err != nil {
				return err
			}
			continue
		}
		err := setXattr(stored, []byte(h.PAXRecords[k]), set)
		// EPERM: user.* on a symbolic link or fifo, xattr(7).
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && stored != capsXattr {
			err = p.skip(Skip{Path: name, Reason: "xattr", Xattr: attr})
		}
		if err != nil {
			return fmt.Errorf("set attribute %q: %w", attr, err)
		}
	}
	return nil
}

// storedXattr gives the name under which an image's attribute is stored, ""
// if it must not be. Attributes by which an image could speak to overlayfs
// are escaped as overlayfs itself does it (Linux 6.7); those of the two
// formats for owners would forge an owner; trusted.* and labels belong to the
// host.
func storedXattr(name string) string {
	switch {
	case strings.HasPrefix(name, "user.overlay."):
		return "user.overlay." + strings.TrimPrefix(name, "user.")
	case name == overrideXattr, name == "user.rootlesscontainers":
		return ""
	case strings.HasPrefix(name, "user."), name == capsXattr,
		name == "system.posix_acl_access", name == "system.posix_acl_default":
		return name
	}
	return ""
}

func setXattr(name string, value []byte, set func(string, []byte) error) error {
	err := set(name, value)
	if err == nil || name != capsXattr {
		return err
	}
	// Version 3 of a capability names the root id of a namespace that need
	// not exist here; as version 2 it belongs to this one's root.
	const v2, v3, size2, size3 = 0x02000000, 0x03000000, 20, 24
	if len(value) != size3 {
		return err
	}
	magic := binary.LittleEndian.Uint32(value)
	if magic&0xff000000 != v3 {
		return err
	}
	short := slices.Clone(value[:size2])
	binary.LittleEndian.PutUint32(short, magic&0xffffff|v2)
	return set(name, short)
}

func mtime(h *tar.Header) unix.Timespec { return timespec(h.ModTime) }

func atime(h *tar.Header) unix.Timespec {
	if h.AccessTime.IsZero() {
		return timespec(h.ModTime)
	}
	return timespec(h.AccessTime)
}

// timespec converts a time; the kernel clamps it to what the filesystem can
// hold (Linux 5.4).
func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

func (d fd) setTimes(name string, a, m unix.Timespec) error {
	err := unix.UtimesNanoAt(int(d), name, []unix.Timespec{a, m}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
