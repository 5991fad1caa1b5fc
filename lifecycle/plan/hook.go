package plan

import (
	"fmt"

	"airplant/internal/birth"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Stdin is an input of hook plans: what the hook reads.
const Stdin birth.Input = "stdin"

// Mounted is the sync point of a container with hooks that run before
// pivot_root; it waits for a byte.
const Mounted = 3

// hookThen is the main section of a hook that runs in the container.
var hookThen = []func(*builder) error{
	(*builder).strays,
	(*builder).enter,
	(*builder).hookInput,
	(*builder).session,
	(*builder).limits,
	(*builder).closeDescriptors,
	(*builder).waitForStart,
	(*builder).execute,
}

// NewHook makes the plan of a hook that runs in a container's namespaces, with
// all capabilities there. What its path means depends on the container's
// process: before pivot_root it is the host's, afterwards the container's.
func NewHook(hook *specs.Hook, host *Host, enter *Enter) (*Plan, error) {
	args := hook.Args
	if len(args) == 0 {
		args = []string{hook.Path}
	}
	process := &specs.Process{Args: args, Env: hook.Env, Cwd: "/"}
	if err := checkProcess(process, host); err != nil {
		return nil, err
	}
	if err := birth.Terminated("path", hook.Path); err != nil {
		return nil, err
	}
	b := &builder{
		spec: &specs.Spec{Process: process, Linux: &specs.Linux{}}, host: host, opts: &Options{NoNewKeyring: true, Hook: hook.Path}, entered: enter, then: hookThen,
		shared: map[specs.LinuxNamespaceType]string{}, created: map[specs.LinuxNamespaceType]bool{},
	}
	b.plan = &Plan{firstFree: 3, builder: b, MapBy: userns.MapNone, Joins: true}
	return b.plan, b.prelude()
}

// hookInput gives the hook its input, and its path as the command.
func (b *builder) hookInput() error {
	b.await(&b.plan.Main, "wait for the parent", birth.In(birth.Report))
	b.do("connect standard input", birth.Dup3, birth.In(Stdin), birth.Int(0), birth.Int(0))
	b.command = birth.Cell("command")
	b.plan.Main.Set("the hook's path", b.command, birth.Str(b.opts.Hook))
	return nil
}

// hooks stops before pivot_root, where there are hooks for that moment.
func (b *builder) hooks() error {
	if !HooksOnCreate(b.spec.Hooks) {
		return nil
	}
	b.do("say that the mounts are made", birth.Write, birth.In(birth.Report), birth.Ptr(birth.Message(Mounted)), birth.Int(birth.MessageLen))
	b.await(&b.plan.Main, "wait for the hooks", birth.In(birth.Report))
	return nil
}

// HooksOnCreate reports whether there are hooks that run before pivot_root.
func HooksOnCreate(h *specs.Hooks) bool {
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0 //nolint:staticcheck // prestart is deprecated, and sent
}

// checkHooks finds mistakes in hooks before anything has happened.
func checkHooks(spec *specs.Spec, _ *Host) error {
	h := spec.Hooks
	if h == nil {
		return nil
	}
	for _, kind := range []struct {
		name string
		list []specs.Hook
	}{
		{"prestart", h.Prestart}, //nolint:staticcheck // deprecated, and sent
		{"createRuntime", h.CreateRuntime},
		{"createContainer", h.CreateContainer},
		{"startContainer", h.StartContainer},
		{"poststart", h.Poststart},
		{"poststop", h.Poststop},
	} {
		for _, hook := range kind.list {
			switch {
			case len(hook.Path) == 0 || hook.Path[0] != '/':
				return fmt.Errorf("hooks.%s: path %q is not absolute", kind.name, hook.Path)
			case hook.Timeout != nil && *hook.Timeout <= 0:
				return fmt.Errorf("hooks.%s: timeout %d is not positive", kind.name, *hook.Timeout)
			}
		}
	}
	return nil
}
