package plan

import (
	"strings"
	"syscall"

	"airplant/internal/birth"

	"golang.org/x/sys/unix"
)

// reason is what the kernel means by an errno of an instruction, where it is
// not plain: mostly what takes root of the host, whatever the user namespace.
type reason struct {
	label string // begins so
	errno syscall.Errno
	why   string
}

// denied stands for EPERM and EACCES.
const denied syscall.Errno = 0

var reasons = []reason{
	{"set process.apparmorProfile", unix.ENOENT, "the profile is not loaded"},
	{"set process.apparmorProfile", denied, "the caller's own profile does not allow the change"},
	{"set process.selinuxLabel", unix.EINVAL, "the policy does not know the label"},
	{"set process.selinuxLabel", denied, "the policy does not let the caller change to it"},
	{"set process.scheduler", denied, "real-time and deadline policies, and a lower nice value, take CAP_SYS_NICE on the host, which no user namespace gives"},
	{"set process.ioPriority", denied, "the real-time class takes CAP_SYS_NICE on the host, which no user namespace gives"},
	{"set linux.memoryPolicy", unix.EINVAL, "the mode does not go with its nodes or flags, or the nodes are not there"},
	{"set process.execCPUAffinity", unix.EINVAL, "none of the CPUs is one that the process may use"},
	{"set RLIMIT_", denied, "a hard limit can only be lowered without CAP_SYS_RESOURCE on the host"},
	{"make the device", denied, "device nodes take CAP_MKNOD on the host, which no user namespace gives"},
	{"set sysctl", denied, "the value belongs to root of the host"},
	{"remount ", unix.EINVAL, "nothing is mounted there"},
	{"remount ", denied, "the mount comes from the host, and its options are locked"},
	{"set the monotonic clock", unix.ERANGE, "linux.timeOffsets: the clock would be before 0, or too far ahead"},
	{"set the boottime clock", unix.ERANGE, "linux.timeOffsets: the clock would be before 0, or too far ahead"},
	{"linux.landlock", unix.EOPNOTSUPP, "this kernel has no Landlock"},
	{"linux.landlock", unix.ENOSYS, "this kernel has no Landlock"},
}

// Why adds to the error of an instruction what it means, if that is known.
func Why(e *birth.Error) string {
	if strings.HasPrefix(e.Label, "bind ") && e.Call == birth.MountSetattr && e.Errno == unix.EPERM {
		return "the mount comes from the host, and its options are locked"
	}
	errno := e.Errno
	if errno == unix.EPERM || errno == unix.EACCES {
		errno = denied
	}
	for _, r := range reasons {
		if strings.HasPrefix(e.Label, r.label) && r.errno == errno {
			return r.why
		}
	}
	return ""
}
