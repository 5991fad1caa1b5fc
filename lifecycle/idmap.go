package lifecycle

import (
	"errors"
	"fmt"
	"os"

	"airplant/lifecycle/plan"
	"airplant/userns"

	"golang.org/x/sys/unix"
)

// mappedMount makes a detached copy of a mount that shows other owners
// (mount_setattr(2), Linux 5.12). The caller closes it.
func mappedMount(m *plan.MappedMount) (_ *os.File, err error) {
	fail := func(err error) error {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: its file system does not take other ids, or it has them already", err)
		}
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: it takes CAP_SYS_ADMIN over its file system", err)
		}
		return fmt.Errorf("bind %s with other ids: %w", m.Source, err)
	}
	ids, err := idsOf(m)
	if err != nil {
		return nil, fail(err)
	}
	defer ids.Close()
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if m.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, flags)
	if err != nil {
		return nil, fail(os.NewSyscallError("open_tree", err))
	}
	tree := os.NewFile(uintptr(fd), m.Source)
	how := uint(unix.AT_EMPTY_PATH)
	if m.Mapped {
		how |= unix.AT_RECURSIVE
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ids.Fd())}
	if err := unix.MountSetattr(fd, "", how, attr); err != nil {
		return nil, errors.Join(fail(os.NewSyscallError("mount_setattr", err)), tree.Close())
	}
	return tree, nil
}

// idsOf opens a user namespace with the mount's maps.
func idsOf(m *plan.MappedMount) (*os.File, error) {
	if m.Path != "" {
		return os.Open(m.Path)
	}
	return userns.Make(m.Map)
}
