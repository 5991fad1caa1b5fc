package birth

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Call is a system call that instructions may use, or [Value].
type Call uint32

// Value is no call: the result is the first argument.
const Value = Call(1<<32 - 1)

// The calls that plans use. All exist on both machines.
const (
	Accept4               = Call(unix.SYS_ACCEPT4)
	Capset                = Call(unix.SYS_CAPSET)
	Chdir                 = Call(unix.SYS_CHDIR)
	Chroot                = Call(unix.SYS_CHROOT)
	Clone3                = Call(unix.SYS_CLONE3)
	Close                 = Call(unix.SYS_CLOSE)
	CloseRange            = Call(unix.SYS_CLOSE_RANGE)
	Dup3                  = Call(unix.SYS_DUP3)
	Execve                = Call(unix.SYS_EXECVE)
	Execveat              = Call(unix.SYS_EXECVEAT)
	ExitGroup             = Call(unix.SYS_EXIT_GROUP)
	Faccessat2            = Call(unix.SYS_FACCESSAT2)
	Fchdir                = Call(unix.SYS_FCHDIR)
	Fchmod                = Call(unix.SYS_FCHMOD)
	Fchmodat              = Call(unix.SYS_FCHMODAT)
	Fchown                = Call(unix.SYS_FCHOWN)
	Fchownat              = Call(unix.SYS_FCHOWNAT)
	Fcntl                 = Call(unix.SYS_FCNTL)
	Fsconfig              = Call(unix.SYS_FSCONFIG)
	Fsmount               = Call(unix.SYS_FSMOUNT)
	Fsopen                = Call(unix.SYS_FSOPEN)
	Getpid                = Call(unix.SYS_GETPID)
	Ioctl                 = Call(unix.SYS_IOCTL)
	Keyctl                = Call(unix.SYS_KEYCTL)
	Mkdirat               = Call(unix.SYS_MKDIRAT)
	Mknodat               = Call(unix.SYS_MKNODAT)
	Mount                 = Call(unix.SYS_MOUNT)
	MountSetattr          = Call(unix.SYS_MOUNT_SETATTR)
	MoveMount             = Call(unix.SYS_MOVE_MOUNT)
	Openat                = Call(unix.SYS_OPENAT)
	Openat2               = Call(unix.SYS_OPENAT2)
	OpenTree              = Call(unix.SYS_OPEN_TREE)
	PivotRoot             = Call(unix.SYS_PIVOT_ROOT)
	Prctl                 = Call(unix.SYS_PRCTL)
	Prlimit64             = Call(unix.SYS_PRLIMIT64)
	Read                  = Call(unix.SYS_READ)
	RtSigprocmask         = Call(unix.SYS_RT_SIGPROCMASK)
	RtSigaction           = Call(unix.SYS_RT_SIGACTION)
	Sendmsg               = Call(unix.SYS_SENDMSG)
	Setdomainname         = Call(unix.SYS_SETDOMAINNAME)
	Setgroups             = Call(unix.SYS_SETGROUPS)
	Sethostname           = Call(unix.SYS_SETHOSTNAME)
	Setns                 = Call(unix.SYS_SETNS)
	Setresgid             = Call(unix.SYS_SETRESGID)
	Setresuid             = Call(unix.SYS_SETRESUID)
	Setsid                = Call(unix.SYS_SETSID)
	Socket                = Call(unix.SYS_SOCKET)
	Symlinkat             = Call(unix.SYS_SYMLINKAT)
	Umask                 = Call(unix.SYS_UMASK)
	Umount2               = Call(unix.SYS_UMOUNT2)
	Unshare               = Call(unix.SYS_UNSHARE)
	Wait4                 = Call(unix.SYS_WAIT4)
	IoprioSet             = Call(unix.SYS_IOPRIO_SET)
	Personality           = Call(unix.SYS_PERSONALITY)
	SchedSetaffinity      = Call(unix.SYS_SCHED_SETAFFINITY)
	SchedSetattr          = Call(unix.SYS_SCHED_SETATTR)
	SetMempolicy          = Call(unix.SYS_SET_MEMPOLICY)
	Seccomp               = Call(unix.SYS_SECCOMP)
	Write                 = Call(unix.SYS_WRITE)
	Fsetxattr             = Call(unix.SYS_FSETXATTR)
	Fspick                = Call(unix.SYS_FSPICK)
	Fstatfs               = Call(unix.SYS_FSTATFS)
	LandlockAddRule       = Call(unix.SYS_LANDLOCK_ADD_RULE)
	LandlockCreateRuleset = Call(unix.SYS_LANDLOCK_CREATE_RULESET)
	LandlockRestrictSelf  = Call(unix.SYS_LANDLOCK_RESTRICT_SELF)
	Readlinkat            = Call(unix.SYS_READLINKAT)
	Statx                 = Call(unix.SYS_STATX)
	Unlinkat              = Call(unix.SYS_UNLINKAT)
	Exit                  = Call(unix.SYS_EXIT)
	Mmap                  = Call(unix.SYS_MMAP)
	SchedYield            = Call(unix.SYS_SCHED_YIELD)
)

// String is the call's name, as strace prints it.
func (c Call) String() string {
	switch c {
	case Value:
		return "value"
	case Accept4:
		return "accept4"
	case Capset:
		return "capset"
	case Chdir:
		return "chdir"
	case Chroot:
		return "chroot"
	case Clone3:
		return "clone3"
	case Close:
		return "close"
	case CloseRange:
		return "close_range"
	case Dup3:
		return "dup3"
	case Execve:
		return "execve"
	case Execveat:
		return "execveat"
	case Exit:
		return "exit"
	case ExitGroup:
		return "exit_group"
	case Faccessat2:
		return "faccessat2"
	case Fchdir:
		return "fchdir"
	case Fchmod:
		return "fchmod"
	case Fchmodat:
		return "fchmodat"
	case Fchown:
		return "fchown"
	case Fchownat:
		return "fchownat"
	case Fcntl:
		return "fcntl"
	case Fsconfig:
		return "fsconfig"
	case Fsmount:
		return "fsmount"
	case Fsopen:
		return "fsopen"
	case Getpid:
		return "getpid"
	case Ioctl:
		return "ioctl"
	case Keyctl:
		return "keyctl"
	case Mkdirat:
		return "mkdirat"
	case Mknodat:
		return "mknodat"
	case Mmap:
		return "mmap"
	case Mount:
		return "mount"
	case MountSetattr:
		return "mount_setattr"
	case MoveMount:
		return "move_mount"
	case Openat:
		return "openat"
	case Openat2:
		return "openat2"
	case OpenTree:
		return "open_tree"
	case PivotRoot:
		return "pivot_root"
	case Prctl:
		return "prctl"
	case Prlimit64:
		return "prlimit64"
	case Read:
		return "read"
	case RtSigprocmask:
		return "rt_sigprocmask"
	case RtSigaction:
		return "rt_sigaction"
	case Sendmsg:
		return "sendmsg"
	case Setdomainname:
		return "setdomainname"
	case Setgroups:
		return "setgroups"
	case Sethostname:
		return "sethostname"
	case Setns:
		return "setns"
	case Setresgid:
		return "setresgid"
	case Setresuid:
		return "setresuid"
	case Setsid:
		return "setsid"
	case Socket:
		return "socket"
	case Symlinkat:
		return "symlinkat"
	case Umask:
		return "umask"
	case Umount2:
		return "umount2"
	case Unshare:
		return "unshare"
	case Wait4:
		return "wait4"
	case IoprioSet:
		return "ioprio_set"
	case Personality:
		return "personality"
	case SchedYield:
		return "sched_yield"
	case SchedSetaffinity:
		return "sched_setaffinity"
	case SchedSetattr:
		return "sched_setattr"
	case SetMempolicy:
		return "set_mempolicy"
	case Seccomp:
		return "seccomp"
	case Write:
		return "write"
	case Fsetxattr:
		return "fsetxattr"
	case Fspick:
		return "fspick"
	case Fstatfs:
		return "fstatfs"
	case LandlockAddRule:
		return "landlock_add_rule"
	case LandlockCreateRuleset:
		return "landlock_create_ruleset"
	case LandlockRestrictSelf:
		return "landlock_restrict_self"
	case Readlinkat:
		return "readlinkat"
	case Statx:
		return "statx"
	case Unlinkat:
		return "unlinkat"
	}
	return fmt.Sprintf("call(%d)", uint32(c))
}
