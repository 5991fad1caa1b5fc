package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"airplant/fsfuse"
	"airplant/internal/birth"
	"airplant/internal/sys"
	"airplant/lifecycle/plan"
	"airplant/lifecycle/seccomp"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// CreateOptions are the choices of `create` and `run`.
type CreateOptions struct {
	Bundle        string // absolute path of the bundle
	Config        string // absolute path of the configuration, where it is not the bundle's
	PidFile       string // takes the pid of the first process
	PidfdSocket   string // takes a pidfd of it
	ConsoleSocket string // takes the terminal's master
	PreserveFDs   int
	ListenFDs     int
	NoPivot       bool
	NoNewKeyring  bool
	DieWithParent bool
	Overlay       *fsfuse.Overlay

	// Inject makes an instruction fail; see [birth.Options]. Tests only.
	Inject *birth.Options
}

// Preload reads ahead what making a container of a bundle needs, while the
// command line is parsed. The function it returns is a [LoadSpec] that knows
// the bundle already, if the guess was right.
func Preload(bundle string) func(bundle string) (*specs.Spec, error) {
	var spec *specs.Spec
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		sys.GrowStack()
		spec, err = LoadSpec(bundle)
	}()
	go func() { _, _ = host() }()
	return func(wanted string) (*specs.Spec, error) {
		if wanted != bundle {
			return LoadSpec(wanted)
		}
		<-done
		return spec, err
	}
}

// LoadSpec reads the configuration of a bundle. The decoder is not that of the
// standard library, which prepares itself for every field of the specification,
// Windows and all, and takes 0.25 ms longer. It also refuses a name that comes
// twice, of which two readers could see different values.
func LoadSpec(bundle string) (*specs.Spec, error) {
	return LoadSpecFile(filepath.Join(bundle, "config.json"))
}

// LoadSpecFile is [LoadSpec] for a configuration by another name.
func LoadSpecFile(name string) (*specs.Spec, error) {
	text, err := sys.ReadFile(name)
	if err != nil {
		return nil, err
	}
	spec := &specs.Spec{}
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return spec, nil
}

// keepConfig records what the container is made of, for exec and checkpoint: the
// bundle may change. Hooks are in the state, and the seccomp filter is compiled.
func (c *container) keepConfig(spec *specs.Spec) error {
	kept := *spec
	kept.Hooks = nil
	if spec.Linux != nil {
		linux := *spec.Linux
		linux.Seccomp = nil
		kept.Linux = &linux
	}
	text, err := json.Marshal(&kept)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.path, configFile), text, 0o600)
}

// Plan begins the plan of what creating the container does; see
// [plan.Plan.Complete].
func (r *Runtime) Plan(spec *specs.Spec, o *CreateOptions, wait bool) (*plan.Plan, error) {
	return r.plan(spec, o, wait, nil)
}

func (r *Runtime) plan(spec *specs.Spec, o *CreateOptions, wait bool, g *group) (*plan.Plan, error) {
	common, err := host()
	if err != nil {
		return nil, err
	}
	host := *common
	if o.Overlay == nil && spec.Process != nil && spec.Root != nil && !slices.ContainsFunc(spec.Process.Env, isHome) {
		host.Home = homeOf(spec.Process.User.UID, rootfs(spec, o.Bundle))
	}
	if err := modules(spec, &host); err != nil {
		return nil, err
	}
	var filter func() (*seccomp.Filter, error)
	if spec.Linux != nil {
		filter = r.filterOf(spec.Linux.Seccomp)
	}
	return plan.New(spec, &host, &plan.Options{
		Bundle: o.Bundle, Wait: wait, PreserveFDs: o.PreserveFDs, ListenFDs: o.ListenFDs,
		NoPivot: o.NoPivot, NoNewKeyring: o.NoNewKeyring, DieWithParent: o.DieWithParent, Overlay: o.Overlay, Filter: filter,
		Group: g != nil,
	})
}

func isHome(e string) bool { return len(e) >= 5 && e[:5] == "HOME=" }

// Create makes a container that waits for [Runtime.Start].
func (r *Runtime) Create(id string, spec *specs.Spec, o *CreateOptions) error {
	if err := checkConsole(spec, o.ConsoleSocket, true); err != nil {
		return err
	}
	b, err := r.bear(id, spec, o, true, nil)
	if err != nil {
		return err
	}
	return errors.Join(b.container.close(), b.close())
}

// checkConsole refuses a console socket without a terminal, and a terminal
// that nobody would hold.
func checkConsole(spec *specs.Spec, socket string, detached bool) error {
	terminal := spec.Process != nil && spec.Process.Terminal
	switch {
	case terminal && socket == "" && detached:
		return errors.New("process.terminal is set: a detached container needs --console-socket")
	case terminal && socket == "" && !IsTerminal(os.Stdin): //nolint:forbidigo // see relayTerminal
		return fmt.Errorf("process.terminal is set: %w", ErrNoTerminal)
	case !terminal && socket != "":
		return errors.New("--console-socket is given, but process.terminal is not set")
	}
	return nil
}
