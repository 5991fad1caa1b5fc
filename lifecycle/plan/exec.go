package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"airplant/internal/birth"
	"airplant/lifecycle/landlock"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Target is an input of exec plans: a pidfd of the process whose namespaces are
// entered.
const Target birth.Input = "container"

// Enter is what an exec plan needs to know of the container.
type Enter struct {
	// Namespaces of the container that are not ours (CLONE_NEW…).
	Namespaces uint64
	// NoGroups: setgroups(2) is denied in its user namespace.
	NoGroups bool
	// Landlock is the container's annotation of that name, or "".
	Landlock string
}

// enterThen is the main section of an exec plan: the steps of a container that
// make sense for a further process of one.
var enterThen = []func(*builder) error{
	(*builder).takeFilter,
	(*builder).strays,
	(*builder).oomScore,
	(*builder).labels,
	(*builder).enter,
	(*builder).session,

	(*builder).inside,
	(*builder).terminal,

	(*builder).landlock,
	(*builder).limits,
	(*builder).attributes,
	(*builder).shareFailure,
	(*builder).closeDescriptors,
	(*builder).credentials,
	(*builder).workdir,
	(*builder).findCommand,
	(*builder).waitForStart,
	(*builder).installFilter,
	(*builder).execute,
}

// NewExec makes the plan of a further process in a container.
func NewExec(process *specs.Process, host *Host, opts *Options, enter *Enter) (*Plan, error) {
	spec := &specs.Spec{Process: process, Linux: &specs.Linux{}}
	if enter.Landlock != "" {
		spec.Annotations = map[string]string{landlock.Annotation: enter.Landlock}
	}
	if err := checkProcess(process, host); err != nil {
		return nil, err
	}
	inner := *host
	inner.NoGroups = enter.NoGroups
	b := &builder{
		spec: spec, host: &inner, opts: opts, entered: enter, then: enterThen,
		shared: map[specs.LinuxNamespaceType]string{}, created: map[specs.LinuxNamespaceType]bool{},
	}
	b.plan = &Plan{firstFree: 3 + opts.PreserveFDs, builder: b, MapBy: userns.MapNone, Joins: true}
	b.setFilter()
	return b.plan, b.take([]func(*builder) error{(*builder).landlockRules, (*builder).prelude})
}

// checkProcess finds what is wrong with the process of an exec.
func checkProcess(p *specs.Process, host *Host) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process.args is empty")
	case !path.IsAbs(p.Cwd):
		return fmt.Errorf("process.cwd %q is not an absolute path", p.Cwd)
	}
	for _, s := range slices.Concat([]string{p.Cwd}, p.Args, p.Env) {
		if err := birth.Terminated("process", s); err != nil {
			return err
		}
	}
	spec := &specs.Spec{Process: p, Linux: &specs.Linux{}}
	if err := checkLabels(spec, host); err != nil {
		return err
	}
	if err := checkAttributes(spec, nil); err != nil {
		return err
	}
	return checkValues(spec, nil)
}

// enter enters the container's namespaces, in one call and by a pidfd, so that
// all are those of one process (setns(2), Linux 5.8), and forks a child into
// its pid namespace. From before that until execve the process cannot be
// traced by those who live there.
func (b *builder) enter() error {
	s := &b.plan.Main
	s.Do("stay untraceable", birth.Prctl, birth.Int(unix.PR_SET_DUMPABLE), birth.Int(0), birth.Int(0), birth.Int(0), birth.Int(0))
	s.Do("enter the container", birth.Setns, birth.In(Target), birth.Int(b.entered.Namespaces))
	b.forkInto(s, 0)
	return nil
}

// forkInto goes on in a new child of our parent's, which learns its pid and
// says when to go on.
func (b *builder) forkInto(s *birth.Section, flags uint64) {
	child, message := &birth.Mark{}, birth.Message(Forked)
	s.Do("fork into the namespaces", birth.Clone3, birth.Ptr(birth.CloneArgs(flags|unix.CLONE_PARENT)), birth.Int(birth.CloneArgsSize)).
		IntoAt(message, birth.MessageValue).On(0, 0, child)
	s.Do("tell the new pid", birth.Write, birth.In(birth.Report), birth.Ptr(message), birth.Int(birth.MessageLen))
	s.Do("end the joining process", birth.ExitGroup, birth.Int(0))
	s.Here(child)
	b.plan.Joins = true
}

// inside opens the root, for the terminal.
func (b *builder) inside() error {
	b.await(&b.plan.Main, "wait for the parent", birth.In(birth.Report))
	if b.spec.Process.Terminal {
		b.rootfs = birth.Cell("root")
		b.do("open the root", birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str("/"), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).Into(b.rootfs)
	}
	return nil
}
