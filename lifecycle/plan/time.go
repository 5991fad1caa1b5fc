package plan

import (
	"fmt"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const timeOffsets = "/proc/self/timens_offsets"

// timeNamespace makes a time namespace, which execve enters (Linux 6.1;
// time_namespaces(7)).
func (b *builder) timeNamespace(s *birth.Section) {
	s.Do("make a time namespace", birth.Unshare, birth.Int(unix.CLONE_NEWTIME))
	b.eachOffset(func(label, line string) { write(s, label, timeOffsets, line) })
}

func (b *builder) eachOffset(do func(label, line string)) {
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := b.spec.Linux.TimeOffsets[clock]; ok {
			do("set the "+clock+" clock", fmt.Sprintf("%s %d %d\n", clock, o.Secs, o.Nanosecs))
		}
	}
}

// openTimeOffsets opens the file of the offsets before a user namespace is
// joined: for that the process is untraceable, and the file root's. What
// counts for the write is who has opened it (proc_timens_set_offset): the
// caller, who has all capabilities over a user namespace that it has made.
func (b *builder) openTimeOffsets(s *birth.Section) *birth.Data {
	if !b.created[specs.TimeNamespace] || b.shared[specs.UserNamespace] == "" {
		return nil
	}
	fd := birth.Cell("offsets")
	s.Do("open the time offsets", birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str(timeOffsets), birth.Int(unix.O_WRONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
	return fd
}

// joinedTimeNamespace makes a time namespace in a joined user namespace; the
// process that is forked then lives in it.
func (b *builder) joinedTimeNamespace(s *birth.Section, offsets *birth.Data) {
	s.Do("make a time namespace", birth.Unshare, birth.Int(unix.CLONE_NEWTIME))
	b.eachOffset(func(label, line string) {
		s.Do(label, birth.Write, birth.Load(offsets), birth.Str(line), birth.Int(len(line)))
	})
}
