package birth

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// name is a constant's name, as the man page of the call has it.
type name struct {
	value uint64
	text  string
}

var (
	atNames = []name{{unix.AT_RECURSIVE, "AT_RECURSIVE"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}, {unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_EACCESS, "AT_EACCESS"}}

	openTreeNames = []name{
		{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"},
		{unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"},
		{unix.AT_RECURSIVE, "AT_RECURSIVE"},
		{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
		{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
	}

	openNames = []name{
		{unix.O_PATH, "O_PATH"},
		{unix.O_WRONLY, "O_WRONLY"},
		{unix.O_RDWR, "O_RDWR"},
		{unix.O_CREAT, "O_CREAT"},
		{unix.O_EXCL, "O_EXCL"},
		{unix.O_NOCTTY, "O_NOCTTY"},
		{unix.O_DIRECTORY, "O_DIRECTORY"},
		{unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_CLOEXEC, "O_CLOEXEC"},
	}

	mountNames = []name{{unix.MS_REC, "MS_REC"}, {unix.MS_PRIVATE, "MS_PRIVATE"}, {unix.MS_SLAVE, "MS_SLAVE"}, {unix.MS_SHARED, "MS_SHARED"}, {unix.MS_UNBINDABLE, "MS_UNBINDABLE"}}

	attrNames = []name{
		{unix.MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"},
		{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"},
		{unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
		{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"},
		{unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
		{unix.MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"},
		{unix.MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"},
		{unix.MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"},
	}

	moveNames = []name{{unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH"}, {unix.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_T_EMPTY_PATH"}}

	cloneNames = []name{
		{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
		{unix.CLONE_NEWNS, "CLONE_NEWNS"},
		{unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
		{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
		{unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
		{unix.CLONE_PARENT, "CLONE_PARENT"},
		{unix.CLONE_VM, "CLONE_VM"},
		{unix.CLONE_FILES, "CLONE_FILES"},
		{unix.CLONE_SIGHAND, "CLONE_SIGHAND"},
		{unix.CLONE_THREAD, "CLONE_THREAD"},
	}

	fsconfigNames = []name{{unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"}, {unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"}, {unix.FSCONFIG_SET_FD, "FSCONFIG_SET_FD"}, {unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"}, {unix.FSCONFIG_CMD_RECONFIGURE, "FSCONFIG_CMD_RECONFIGURE"}}

	prctlNames = []name{
		{unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"},
		{unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"},
		{unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"},
		{unix.PR_SET_NAME, "PR_SET_NAME"},
		{unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"},
		{unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"},
		{unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"},
	}

	ambientNames = []name{{unix.PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE"}, {unix.PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL"}}

	ioctlNames = []name{{unix.TIOCSPTLCK, "TIOCSPTLCK"}, {unix.TIOCGPTPEER, "TIOCGPTPEER"}, {unix.TIOCSCTTY, "TIOCSCTTY"}, {unix.TIOCSWINSZ, "TIOCSWINSZ"}, {unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"}}

	protNames = []name{{unix.PROT_READ, "PROT_READ"}, {unix.PROT_WRITE, "PROT_WRITE"}}

	mapNames = []name{{unix.MAP_SHARED, "MAP_SHARED"}}

	filterNames = []name{
		{unix.SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"},
		{unix.SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"},
		{unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
		{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER"},
		{unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
	}

	umountNames = []name{{unix.MNT_DETACH, "MNT_DETACH"}}

	closeRangeNames = []name{{unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"}}
)

// constText prints a constant argument: directory descriptors, flags and
// commands by name, modes in octal, the rest as a number.
func constText(c Call, n int, v uint64, args []Arg) string {
	if int64(v) == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	switch {
	case c == Openat && n == 2:
		return flagText(openNames, v)
	case (c == Mkdirat || c == Fchmodat) && n == 2, c == Openat && n == 3, c == Mknodat && n == 2, c == Umask, c == Fchmod && n == 1:
		return fmt.Sprintf("%#o", v)
	case c == OpenTree && n == 2:
		return flagText(openTreeNames, v)
	case (c == MountSetattr || c == Faccessat2 || c == Execveat || c == Fchownat) && n == atFlagsAt(c):
		return flagText(atNames, v)
	case c == MoveMount && n == 4:
		return flagText(moveNames, v)
	case c == Mount && n == 3:
		return flagText(mountNames, v)
	case c == Fsmount && n == 2:
		return flagText(attrNames, v)
	case c == Fsconfig && n == 1:
		return oneOf(fsconfigNames, v)
	case (c == Setns && n == 1) || c == Unshare:
		return flagText(cloneNames, v)
	case c == Prctl && n == 0:
		return oneOf(prctlNames, v)
	case c == Prctl && n == 1 && args[0].value == unix.PR_CAP_AMBIENT:
		return oneOf(ambientNames, v)
	case c == Ioctl && n == 1:
		return oneOf(ioctlNames, v)
	case c == Mmap && n == 2:
		return flagText(protNames, v)
	case c == Mmap && n == 3:
		return flagText(mapNames, v)
	case c == Seccomp && n == 0:
		return oneOf([]name{{unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"}}, v)
	case c == Seccomp && n == 1 && v != 0:
		return flagText(filterNames, v)
	case c == Umount2 && n == 1:
		return flagText(umountNames, v)
	case c == CloseRange && n == 2:
		return flagText(closeRangeNames, v)
	case v > 1<<63:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatUint(v, 10)
}

// atFlagsAt is the position of the AT_… argument.
func atFlagsAt(c Call) int {
	switch c {
	case MountSetattr:
		return 2
	case Faccessat2:
		return 3
	}
	return 4
}

func oneOf(names []name, v uint64) string {
	for _, n := range names {
		if n.value == v {
			return n.text
		}
	}
	return strconv.FormatUint(v, 10)
}

func flagText(names []name, v uint64) string {
	var list []string
	for _, n := range names {
		if v&n.value == n.value {
			list = append(list, n.text)
			v &^= n.value
		}
	}
	if v != 0 || len(list) == 0 {
		list = append(list, fmt.Sprintf("%#x", v))
	}
	return strings.Join(list, "|")
}

// OpenHow is struct open_how of openat2(2).
func OpenHow(flags, resolve uint64) *Data { return shown((*Data).openHow, flags, 0, resolve) }

func (d *Data) openHow() string {
	text := "{" + flagText(openNames, d.word(0))
	if resolve := d.word(2); resolve != 0 {
		text += ", " + flagText([]name{
			{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
			{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
			{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
			{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
		}, resolve)
	}
	return text + "}"
}

// MountAttr is struct mount_attr of mount_setattr(2).
func MountAttr(set, clear, propagation uint64) *Data {
	return shown((*Data).mountAttr, set, clear, propagation, 0)
}

func (d *Data) mountAttr() string {
	text := "{set " + flagText(attrNames, d.word(0))
	if clear := d.word(1); clear != 0 {
		text += ", clear " + flagText(attrNames, clear)
	}
	if propagation := d.word(2); propagation != 0 {
		text += ", " + flagText(mountNames, propagation)
	}
	return text + "}"
}

// CloneFlags prints the namespaces of clone flags.
func CloneFlags(flags uint64) string { return flagText(cloneNames, flags) }

// CloneArgs is struct clone_args of clone3(2) for a process that is made by
// the main section, and CloneArgsSize its size in bytes.
func CloneArgs(flags uint64) *Data {
	return shown((*Data).cloneArgs, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

func (d *Data) cloneArgs() string { return "{" + flagText(cloneNames, d.word(0)) + "}" }

// CloneArgsSize is the size in bytes of what [CloneArgs] makes.
const CloneArgsSize = 88
