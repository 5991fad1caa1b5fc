// Package plan turns an OCI runtime configuration into the program of system
// calls that makes the container.
//
// It is pure: [New] looks at nothing but its arguments. What it must know of
// the host is gathered before, in a [Host]. So a plan can be printed before
// anything happens, and compared with a golden file.
//
// What a plan can express is decided here too: a field of the configuration
// that restricts or acts and is not in the plan is refused by name, never
// ignored.
//
// Order matters more than anything else here, and is written once, in the
// tables [first] and [then]:
//
//	prelude  own id maps, wait for those of the parent, execveat
//	main     [join namespaces, fork] session, namespace-wide settings, root and
//	         mounts (in the host's view, through descriptors), pivot_root,
//	         limits, capabilities, ids, wait to be recorded, [ready, wait for
//	         start], seccomp, execve
//
// Known hazards: paths inside the root filesystem are foreign. They are only
// ever resolved by openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS,
// and the descriptor is what is used. All descriptors of ours are closed, not
// only marked, before anything looks up a path of the container's process.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"airplant/fsfuse"
	"airplant/internal/birth"
	"airplant/lifecycle/landlock"
	"airplant/lifecycle/seccomp"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Inputs of a plan's program besides [birth.Report]. The parent opens them.
const (
	// Executable is the sealed executable.
	Executable birth.Input = "exe"
	// Console is a connected unix socket that takes the terminal's master.
	Console birth.Input = "console"
	// Listener is the socket on which a created container waits for start.
	Listener birth.Input = "start"
)

// Sync points of the main section.
const (
	// Ready: the container is created and waits for start.
	Ready = 1
	// Forked: namespaces are joined; the value is the pid of the process that
	// goes on, and waits for a byte.
	Forked = 2
)

// Host is what a plan depends on besides the configuration.
type Host struct {
	UID, GID int // effective ids of the caller
	// Privileged: the caller has CAP_SYS_ADMIN over its own user namespace.
	Privileged bool
	// Initial: that namespace is the host's own, so devices can be made.
	Initial bool
	// NoGroups: setgroups(2) is denied in the caller's user namespace, and so in
	// all below it.
	NoGroups bool
	LastCap  int // the highest capability number that the kernel knows
	// Lacks are the capabilities, by their numbers, that we can never have or
	// give in our own user namespace.
	Lacks   uint64
	Ignored uint64 // signals that the caller ignores, as in SigIgn of proc(5)
	// NoFile is the soft and hard limit of open files before the Go runtime
	// raised the first.
	NoFile [2]uint64
	// Unified: /sys/fs/cgroup is cgroup v2; Cgroup is the caller's own path
	// below it.
	Unified bool
	Cgroup  string
	Home    string // home directory of the process's user, from the bundle
	// AppArmor and SELinux are the modules that are active. They are looked at
	// only for a configuration that names one.
	AppArmor, SELinux bool
	Landlock          int // version of the kernel's interface, likewise
}

// Options are the choices of a caller that the configuration does not hold.
type Options struct {
	Bundle       string // absolute path
	Wait         bool   // stop before execve until start
	PreserveFDs  int    // descriptors above 2 that the process inherits
	ListenFDs    int    // how many of them are sockets of systemd (sd_listen_fds(3))
	NoPivot      bool
	NoNewKeyring bool
	// Group: the container's process is moved into a cgroup of its own before
	// the main section runs.
	Group   bool
	Overlay *fsfuse.Overlay // the root filesystem, in place of the configuration's
	Hook    string          // path of the hook, in a plan of one
	// Filter gives the seccomp filter, in place of compiling the configuration's.
	Filter func() (*seccomp.Filter, error)
	// DieWithParent kills the container when the thread that made it ends.
	DieWithParent bool
}

// Plan is a container that can be made.
type Plan struct {
	birth.Program
	CloneFlags uint64 // namespaces of the first fork
	Map        userns.Map
	MapBy      userns.MapBy
	Joins      bool // the program tells [Forked]

	filter    *seccomp.Filter
	inputs    []birth.Input // of the main section
	mapped    []MappedMount
	notes     []string
	command   [2]int // instructions that look for the program, and execve
	firstFree int
	builder   *builder
}

// MainInputs are the descriptors of the main section, which the prelude puts
// there. Those that the parent gives to the prelude must have numbers from
// FreeFD on, not to be overwritten.
func (p *Plan) MainInputs() birth.Inputs {
	in := birth.Inputs{}
	for n, name := range p.inputs {
		in[name] = p.firstFree + n
	}
	return in
}

// Inputs are the names of the main section's descriptors.
func (p *Plan) Inputs() []birth.Input { return slices.Clone(p.inputs) }

// FreeFD is the lowest descriptor that is not used by the main section.
func (p *Plan) FreeFD() int { return p.firstFree + len(p.inputs) }

// New makes the part of a plan that comes first: namespaces, id maps and the
// prelude. [Plan.Complete] makes the rest, which may be done while the process
// is being born.
func New(spec *specs.Spec, host *Host, opts *Options) (*Plan, error) {
	if err := Check(spec, host); err != nil {
		return nil, err
	}
	b := &builder{spec: spec, host: host, opts: opts, then: then}
	b.plan = &Plan{firstFree: 3 + opts.PreserveFDs, builder: b}
	b.setFilter()
	return b.plan, b.take(first)
}

// InCgroup tells the main section of a container's cgroup, by its path below
// /sys/fs/cgroup.
func (p *Plan) InCgroup(path string) {
	h := *p.builder.host
	h.Cgroup = path
	p.builder.host = &h
}

// Notes are what the plan does in place of something better, known before it
// runs. They are complete when the plan is.
func (p *Plan) Notes() []string { return p.notes }

func (p *Plan) note(text string) { p.notes = append(p.notes, text) }

// Complete makes the main section.
func (p *Plan) Complete() error { return p.builder.take(p.builder.then) }

func (b *builder) take(steps []func(*builder) error) error {
	for _, step := range steps {
		if err := step(b); err != nil {
			return err
		}
	}
	return nil
}

// first and then are the one ordered list of what happens.
var first = []func(*builder) error{
	(*builder).landlockRules,
	(*builder).identity,
	(*builder).idMappedMounts,
	(*builder).prelude,
}

var then = []func(*builder) error{
	(*builder).takeFilter,
	(*builder).strays,
	(*builder).oomScore,
	(*builder).labels,
	(*builder).join,
	(*builder).enterTime,
	(*builder).ownCgroup,
	(*builder).session,
	(*builder).names,
	(*builder).loopback,
	(*builder).sysctls,

	(*builder).root,
	(*builder).mounts,
	(*builder).devices,
	(*builder).terminal,
	(*builder).cwdExists,
	(*builder).masked,
	(*builder).readonly,
	(*builder).hooks,
	(*builder).pivot,

	(*builder).landlock,
	(*builder).limits,
	(*builder).attributes,
	(*builder).shareFailure,
	(*builder).closeDescriptors,
	(*builder).credentials,
	(*builder).workdir,
	(*builder).findCommand,
	(*builder).recorded,
	(*builder).waitForStart,
	(*builder).installFilter,
	(*builder).execute,
}

// builder is the state of making one plan.
type builder struct {
	spec *specs.Spec
	host *Host
	opts *Options
	plan *Plan
	then []func(*builder) error

	entered *Enter                              // of an exec plan
	shared  map[specs.LinuxNamespaceType]string // namespaces to join, by path
	created map[specs.LinuxNamespaceType]bool

	landlocked   *landlock.Ruleset // of the annotation, or nil
	landlockMust bool

	rootfs  *birth.Data // descriptor of the root filesystem's root
	command *birth.Data // address of the path to execute
	failure *birth.Data // address of the memory for a failure's report
	filter  func() (*seccomp.Filter, error)
}

func (b *builder) do(label string, call birth.Call, args ...birth.Arg) *birth.Instr {
	return b.plan.Main.Do(label, call, args...)
}

func (b *builder) here(m *birth.Mark) { b.plan.Main.Here(m) }

// firstFree is the lowest descriptor that the container's process does not
// inherit.
func (b *builder) firstFree() int { return b.plan.firstFree }

// IsCommand reports whether a failure of the instruction means that the
// container's program cannot be executed.
func (p *Plan) IsCommand(index int) bool {
	index -= p.Prelude.Len()
	return index >= p.command[0] && index < p.command[1] || index == p.Main.Len()-1
}

// Command is the container's program.
func (p *Plan) Command() string { return p.builder.spec.Process.Args[0] }

// Explain prints the plan for people.
func (p *Plan) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "clone3 %s\n", birth.CloneFlags(p.CloneFlags))
	if p.MapBy != userns.MapNone {
		fmt.Fprintf(&b, "id maps, by %s\n  uid: %s\n  gid: %s\n", p.MapBy, oneLine(p.Map.UIDs), oneLine(p.Map.GIDs))
	}
	section := ""
	for _, l := range p.Lines() {
		if l.Section != section {
			section = l.Section
			fmt.Fprintf(&b, "%s\n", section)
		}
		fmt.Fprintf(&b, "%s\n", l)
	}
	return b.String()
}

func oneLine(list []specs.LinuxIDMapping) string {
	return strings.ReplaceAll(strings.TrimSpace(userns.Text(list)), "\n", ", ")
}
