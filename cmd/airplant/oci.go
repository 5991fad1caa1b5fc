package main

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"airplant/lifecycle"
	"airplant/lifecycle/cgroup"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ociGlobals are the flags before the verb, as runc and crun have them.
type ociGlobals struct {
	Root          string `help:"Folder for the state of containers." placeholder:"DIR"`
	Log           string `help:"File that takes errors besides standard error." placeholder:"FILE"`
	LogFormat     string `help:"Format of the log: text or json." enum:"text,json" default:"text"`
	Debug         bool   `help:"Also log what was asked and how it ended."`
	SystemdCgroup bool   `help:"Let systemd make cgroups; --cgroup-manager=systemd."`
	CgroupManager string `help:"Who makes cgroups: cgroupfs, systemd or disabled." placeholder:"NAME"`
	Criu          string `help:"The CRIU program, for checkpoint and restore." default:"criu" placeholder:"FILE"`
	Version       bool   `help:"Print the version." short:"v"`
}

// ociFace is the command line for engines.
func ociFace(g *ociGlobals) *face {
	return &face{
		name: "airplant oci", help: "Run containers from bundles, with runc's command line.", globals: g, usage: 1,
		valued: []string{"--root", "--log", "--log-format", "--cgroup-manager", "--rootless", "--criu"},
		commands: []command{
			{"create", "Create a container that waits for start.", func() any { return &ociCreate{} }},
			{"start", "Execute the program of a created container.", func() any { return &ociStart{} }},
			{"run", "Create and start a container.", func() any { return &ociRun{} }},
			{"exec", "Run a further program in a container.", func() any { return &ociExec{} }},
			{"state", "Print the state of a container.", func() any { return &ociState{} }},
			{"kill", "Send a signal to a container.", func() any { return &ociKill{} }},
			{"delete", "Remove a container.", func() any { return &ociDelete{} }},
			{"checkpoint", "Write a running container to files (root only).", func() any { return &ociCheckpoint{} }},
			{"restore", "Make a container of what checkpoint has written (root only).", func() any { return &ociRestore{} }},
			{"pause", "Stop all processes of a container.", func() any { return &ociPause{} }},
			{"resume", "Let a paused container go on.", func() any { return &ociResume{} }},
			{"ps", "List the processes of a container.", func() any { return &ociPs{} }},
			{"update", "Change the limits of a container.", func() any { return &ociUpdate{} }},
			{"events", "Print what a container uses, and when its memory runs out.", func() any { return &ociEvents{} }},
			{"features", "Print what is supported.", func() any { return &ociFeatures{} }},
			{"list", "List containers.", func() any { return &ociList{} }},
			{"spec", "Write a config.json to start from.", func() any { return &ociSpec{} }},
		},
	}
}

func (e *env) oci(args []string) int {
	var g ociGlobals
	f := ociFace(&g)
	e.loadSpec = preload(args)
	args = f.without("--rootless", args)
	name, at := f.named(args)
	switch {
	case slices.ContainsFunc(args[:at], func(a string) bool { return a == "--version" || a == "-v" }):
		return e.ociVersion()
	case len(args) == 0:
		args = []string{"--help"}
	case name == "help":
		args = append(slices.Clone(args[at+1:]), "--help")
	}
	if name != "" && name != "help" && f.index(name) < 0 {
		e.reportOCI(&g, "error", fmt.Sprintf("no verb %q; see `%s --help`", name, f.name))
		return unknownVerb
	}
	switch name {
	case "exec":
		args = slices.Concat(args[:at], flagsFirst(args[at:], reflect.TypeFor[ociExec]()))
	case "ps":
		args = slices.Concat(args[:at], flagsFirst(args[at:], reflect.TypeFor[ociPs]()))
	}
	status := f.run(args, e, func(err error) { e.reportOCI(&g, "error", err.Error()) }, &g)
	if status < 0 {
		status = 1 // as runc, whatever the error
	}
	if g.Debug {
		e.reportOCI(&g, "debug", fmt.Sprintf("%q ended with status %d after %v", args, status, time.Since(e.started).Round(time.Microsecond)))
	}
	return status
}

// unknownVerb is runc's status for a verb that it has not got. crun's is 1.
const unknownVerb = 3

// preload reads ahead for the commands that make a container, from the bundle
// that the arguments seem to name.
func preload(args []string) func(string) (*specs.Spec, error) {
	bundle, makes := ".", false
	for n, a := range args {
		if value, ok := strings.CutPrefix(a, "--bundle="); ok {
			bundle = value
		} else if (a == "--bundle" || a == "-b") && n+1 < len(args) {
			bundle = args[n+1]
		}
		makes = makes || a == "run" || a == "create"
	}
	bundle, err := filepath.Abs(bundle)
	if !makes || err != nil {
		return lifecycle.LoadSpec
	}
	return lifecycle.Preload(bundle)
}

func (g *ociGlobals) runtime(e *env) (_ *lifecycle.Runtime, err error) {
	root := g.Root
	if root == "" {
		root, err = lifecycle.DefaultRoot(e.getenv("XDG_RUNTIME_DIR"), "oci")
	} else {
		root, err = filepath.Abs(root)
	}
	warn := func(err error) { e.reportOCI(g, "warning", err.Error()) }
	manager := cgroup.Manager(g.CgroupManager)
	if g.SystemdCgroup && manager == cgroup.Auto {
		manager = cgroup.Systemd
	}
	return &lifecycle.Runtime{
		Root: root, Filters: e.filters, Warn: warn, Cgroups: manager, RuntimeDir: e.getenv("XDG_RUNTIME_DIR"),
	}, err
}

// filters is the folder of compiled seccomp filters. Without one they are
// compiled each time.
func (e *env) filters() string {
	dir, err := lifecycle.DefaultRoot(e.getenv("XDG_RUNTIME_DIR"), "seccomp")
	if err != nil {
		return ""
	}
	return dir
}

// bundleFlags are common to create and run.
type bundleFlags struct {
	Bundle        string `short:"b" help:"The bundle; the current folder without it." placeholder:"DIR" default:"."`
	Config        string `help:"The configuration, in place of the bundle's config.json." placeholder:"FILE"`
	ConsoleSocket string `help:"Unix socket that takes the terminal's master." placeholder:"SOCKET"`
	PidFile       string `help:"File that takes the pid of the first process." placeholder:"FILE"`
	PidfdSocket   string `help:"Unix socket that takes a pidfd of the first process." placeholder:"SOCKET"`
	NoPivot       bool   `help:"Do not use pivot_root: for an initramfs, and less safe."`
	NoNewKeyring  bool   `help:"Leave the session keyring to the container."`
	PreserveFds   int    `name:"preserve-fds" help:"Descriptors after standard error that the program inherits." placeholder:"N"`
	ID            string `arg:"" help:"Name of the container."`
}

func (b *bundleFlags) options(e *env) (o lifecycle.CreateOptions, spec *specs.Spec, err error) {
	o = lifecycle.CreateOptions{
		PidFile: b.PidFile, ConsoleSocket: b.ConsoleSocket, PidfdSocket: b.PidfdSocket,
		NoPivot: b.NoPivot, NoNewKeyring: b.NoNewKeyring,
	}
	if o.PreserveFDs, o.ListenFDs, err = e.inherited(b.PreserveFds); err != nil {
		return o, nil, err
	}
	if o.Bundle, err = filepath.Abs(b.Bundle); err != nil {
		return o, nil, err
	}
	if b.Config == "" {
		spec, err = e.loadSpec(o.Bundle)
		return o, spec, err
	}
	if o.Config, err = filepath.Abs(b.Config); err != nil {
		return o, nil, err
	}
	spec, err = lifecycle.LoadSpecFile(o.Config)
	return o, spec, err
}

// inherited counts the descriptors after standard error that a program inherits:
// those asked for, and sockets that systemd or an engine hands down
// (sd_listen_fds(3)). All must be open, and none of ours.
func (e *env) inherited(preserve int) (total, listen int, err error) {
	const most = 1 << 16
	if preserve < 0 || preserve > most {
		return 0, 0, fmt.Errorf("--preserve-fds %d is out of range", preserve)
	}
	if n, err := strconv.Atoi(e.getenv("LISTEN_FDS")); err == nil && n > 0 && n <= most {
		listen = n
	}
	total = preserve + listen
	for fd := 3; fd < 3+total; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			return 0, 0, fmt.Errorf("descriptor %d is to be preserved, and is not open", fd)
		}
	}
	return total, listen, nil
}

type ociCreate struct {
	bundleFlags `embed:""`
}

func (c *ociCreate) Run(e *env, g *ociGlobals) error {
	o, spec, err := c.options(e)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Create(c.ID, spec, &o)
}

type ociRun struct {
	bundleFlags `embed:""`
	Detach      bool `short:"d" help:"Leave the container running."`
	Keep        bool `help:"Do not remove the container when it has ended."`
	NoSubreaper bool `help:"Accepted for engines: no process of ours becomes a reaper."`
}

func (c *ociRun) Run(e *env, g *ociGlobals) error {
	o, spec, err := c.options(e)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	status, err := r.Run(c.ID, spec, &lifecycle.RunOptions{CreateOptions: o, Detach: c.Detach, Keep: c.Keep})
	if err == nil && status != 0 {
		return exitStatus(status)
	}
	return err
}

type ociStart struct {
	ID string `arg:"" help:"Name of the container."`
}

func (c *ociStart) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Start(c.ID)
}

type ociState struct {
	ID string `arg:"" help:"Name of the container."`
}

func (c *ociState) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	s, err := r.State(c.ID)
	if err != nil {
		return err
	}
	return printJSON(e, owned{s, owner(s.OwnerUID)})
}

func printJSON(e *env, v any) error {
	text, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(append(text, '\n'))
	return err
}
