package plan

import (
	"crypto/sha256"
	"fmt"
	"math"

	"airplant/internal/birth"
	"airplant/lifecycle/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The filter is the last thing before execve, so that nothing of ours has to be
// allowed by it:
//
//	memory for a failure's report is shared with the parent
//	credentials: CAP_SYS_ADMIN is kept, unless no_new_privs is set
//	working directory, command, wait for start
//	seccomp(2)
//	execve: the capabilities are computed anew (capabilities(7)), from sets
//	        in which CAP_SYS_ADMIN was not kept
//
// The kernel wants one of the two from who installs a filter. What fails from
// seccomp on is stored in the memory, because write may be refused; where even
// exit_group is, the process traps.
//
// A filter with a listener is for somebody else to answer, and only its
// installer gets the descriptor. To send it may be a call that waits for an
// answer. So a second thread is made before, which has no filter, and the first
// waits for it without any call:
//
//	first thread           second               parent           agent
//	   | clone3 ------------>|
//	   | seccomp             | yields
//	   | looks at a word     | sendmsg --------->| sendmsg ------>|
//	   |                     |<---------- 1 byte |
//	   |<------- sets it     | exit
//	   | execve

// Failure is an input of plans with a filter: a file of [birth.MessageLen] bytes
// that takes what fails from then on; see [birth.Program.ReadSilent].
const Failure birth.Input = "failure"

// Listening is the sync point of a process whose filter has a listener: the
// message brings its descriptor, and the process waits for a byte.
const Listening = 5

// MayFilter reports whether a section asks for a filter. One without a default
// action and rules is as good as none, and sent by engines.
func MayFilter(c *specs.LinuxSeccomp) bool {
	return c != nil && (c.DefaultAction != "" || len(c.Syscalls) > 0)
}

// setFilter decides where the filter comes from.
func (b *builder) setFilter() {
	switch c := b.spec.Linux.Seccomp; {
	case b.opts.Filter != nil:
		b.filter = b.opts.Filter
	case MayFilter(c):
		b.filter = func() (*seccomp.Filter, error) { return seccomp.Compile(c) }
	}
}

// Filter is the container's filter, once the plan is complete; nil for none.
func (p *Plan) Filter() *seccomp.Filter { return p.filter }

// ExecveAt is the index of the instruction that executes the container's program,
// the last, once the plan is complete.
func (p *Plan) ExecveAt() int { return p.Prelude.Len() + p.Main.Len() - 1 }

// takeFilter compiles the filter.
func (b *builder) takeFilter() (err error) {
	if b.filter != nil {
		b.plan.filter, err = b.filter()
	}
	return err
}

// enterTime enters a new time namespace now and not at execve: from outside of
// it no thread can be made (clone(2), EINVAL). Where a user namespace is joined
// the process was forked into it.
func (b *builder) enterTime() error {
	if b.plan.filter == nil || !b.plan.filter.Notify || !b.created[specs.TimeNamespace] || b.shared[specs.UserNamespace] != "" {
		return nil
	}
	const label = "enter the time namespace"
	fd := birth.Cell("time namespace")
	b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str("/proc/self/ns/time_for_children"), birth.Int(unix.O_RDONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
	b.do(label, birth.Setns, birth.Load(fd), birth.Int(unix.CLONE_NEWTIME))
	b.do(label, birth.Close, birth.Load(fd))
	return nil
}

// shareFailure maps the memory for reports, while its descriptor is open.
func (b *builder) shareFailure() error {
	if b.plan.filter == nil {
		return nil
	}
	b.failure = birth.Cell("failure memory")
	b.do("share memory for a failure", birth.Mmap, birth.Null(), birth.Int(birth.MessageLen), birth.Int(unix.PROT_READ|unix.PROT_WRITE),
		birth.Int(unix.MAP_SHARED), birth.In(Failure), birth.Int(0)).Into(b.failure)
	return nil
}

// installs reports that the process needs CAP_SYS_ADMIN until execve.
func (b *builder) installs() bool { return b.plan.filter != nil && !b.spec.Process.NoNewPrivileges }

// installFilter is the last but execve.
func (b *builder) installFilter() error {
	f := b.plan.filter
	if f == nil {
		return nil
	}
	text := fmt.Sprintf("{%d instructions, sha256 %.4x}", f.Len(), sha256.Sum256(f.Program))
	program := birth.Words(text, uint64(f.Len()), 0).Point(8, birth.Bytes("program", f.Program))
	b.do("report a failure in memory", birth.Value, birth.Load(b.failure)).IntoReports()
	const label = "install the seccomp filter"
	if !f.Notify {
		b.do(label, birth.Seccomp, birth.Int(unix.SECCOMP_SET_MODE_FILTER), birth.Int(f.Flags), birth.Ptr(program))
		return nil
	}
	listener, done := birth.Cell("listener"), birth.Cell("handed over")
	helper, spin, ready := &birth.Mark{}, &birth.Mark{}, &birth.Mark{}
	b.do("make a thread without the filter", birth.Clone3, birth.Ptr(birth.CloneArgs(unix.CLONE_VM|unix.CLONE_FILES|unix.CLONE_SIGHAND|unix.CLONE_THREAD)),
		birth.Int(birth.CloneArgsSize)).On(0, 0, helper)
	// TSYNC would give the filter to that thread; there are no others.
	flags := f.Flags&^unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	b.do(label, birth.Seccomp, birth.Int(unix.SECCOMP_SET_MODE_FILTER), birth.Int(flags), birth.Ptr(program)).Into(listener)
	b.here(spin)
	b.do("wait until the listener is handed over", birth.Value, birth.Load(done)).On(0, 0, spin)
	b.plan.Main.Goto("go on", ready)
	b.here(helper)
	b.handOver(listener)
	b.plan.Main.Set("the listener is handed over", done, birth.Int(1))
	b.do("end the thread", birth.Exit, birth.Int(0))
	b.here(ready)
	return nil
}

// handOver is the second thread.
func (b *builder) handOver(listener *birth.Data) {
	const label = "hand over the listener"
	again := &birth.Mark{}
	b.here(again)
	b.do("wait for the filter", birth.SchedYield)
	b.do("wait for the filter", birth.Value, birth.Load(listener)).On(math.MinInt64, 0, again)
	control := birth.Words("SCM_RIGHTS", uint64(unix.CmsgLen(4)), unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0)
	b.do(label, birth.Value, birth.Load(listener)).IntoAt(control, unix.CmsgLen(0))
	iov := birth.Words("iov", 0, birth.MessageLen).Point(0, birth.Message(Listening))
	msg := birth.Words("{SCM_RIGHTS listener}", 0, 0, 0, 1, 0, uint64(unix.CmsgSpace(4)), 0)
	msg.Point(16, iov).Point(32, control)
	b.do(label, birth.Sendmsg, birth.In(birth.Report), birth.Ptr(msg), birth.Int(unix.MSG_NOSIGNAL))
	b.await(&b.plan.Main, "wait for the agent", birth.In(birth.Report))
}
