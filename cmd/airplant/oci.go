package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"airplant/lifecycle"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ociGlobals are the flags before the verb, as runc and crun have them.
type ociGlobals struct {
	Root          string     `help:"Folder for the state of containers." placeholder:"DIR"`
	Log           string     `help:"File that takes errors besides standard error." placeholder:"FILE"`
	LogFormat     string     `help:"Format of the log: text or json." enum:"text,json" default:"text"`
	Debug         bool       `help:"Accepted for engines; there is no debug log."`
	SystemdCgroup bool       `help:"Accepted for engines; limits are not implemented yet."`
	CgroupManager string     `help:"Accepted for engines; limits are not implemented yet." placeholder:"NAME"`
	Criu          string     `hidden:""`
	Version       ociVersion `help:"Print the version." short:"v"`
}

type ociVersion bool

// BeforeReset prints the version before anything else is looked at.
func (ociVersion) BeforeReset(ctx *kong.Context) error {
	fmt.Fprintf(ctx.Stdout, "airplant version %s\nspec: %s\n", version, specs.Version)
	ctx.Exit(0)
	return nil
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
			{"pause", "Stop all processes of a container.", func() any { return &ociPause{} }},
			{"resume", "Let a paused container go on.", func() any { return &ociResume{} }},
			{"ps", "List the processes of a container.", func() any { return &ociPs{} }},
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
	switch name, at := f.named(args); name {
	case "exec":
		args = slices.Concat(args[:at], flagsFirst(args[at:], reflect.TypeFor[ociExec]()))
	case "ps":
		args = slices.Concat(args[:at], flagsFirst(args[at:], reflect.TypeFor[ociPs]()))
	}
	status := f.run(args, e, func(err error) { e.reportOCI(&g, err) }, &g)
	if status < 0 {
		return 1 // as runc, whatever the error
	}
	return status
}

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

// reportOCI prints an error, and logs it in the form that engines read.
func (e *env) reportOCI(g *ociGlobals, err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintf(e.stderr, "airplant: error: %s\n", text)
	if g.Log == "" {
		return
	}
	f, openErr := os.OpenFile(g.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if openErr != nil {
		fmt.Fprintf(e.stderr, "airplant: error: open the log: %v\n", openErr)
		return
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if g.LogFormat == "json" {
		// Text and time cannot fail to be JSON.
		line, _ := json.Marshal(map[string]string{"level": "error", "msg": strings.ToValidUTF8(text, "\uFFFD"), "time": now}, json.Deterministic(true))
		fmt.Fprintf(f, "%s\n", line)
		return
	}
	fmt.Fprintf(f, "time=%q level=error msg=%q\n", now, text)
}

func (g *ociGlobals) runtime(e *env) (_ *lifecycle.Runtime, err error) {
	root := g.Root
	if root == "" {
		root, err = lifecycle.DefaultRoot(e.getenv("XDG_RUNTIME_DIR"), "oci")
	} else {
		root, err = filepath.Abs(root)
	}
	return &lifecycle.Runtime{Root: root, Filters: e.filters(), Warn: e.warn}, err
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
	ConsoleSocket string `help:"Unix socket that takes the terminal's master." placeholder:"SOCKET"`
	PidFile       string `help:"File that takes the pid of the first process." placeholder:"FILE"`
	NoPivot       bool   `help:"Do not use pivot_root: for an initramfs, and less safe."`
	NoNewKeyring  bool   `help:"Leave the session keyring to the container."`
	PreserveFds   int    `name:"preserve-fds" help:"Descriptors after standard error that the program inherits." placeholder:"N"`
	ID            string `arg:"" help:"Name of the container."`
}

func (b *bundleFlags) options(e *env) (o lifecycle.CreateOptions, spec *specs.Spec, err error) {
	o = lifecycle.CreateOptions{
		PidFile: b.PidFile, ConsoleSocket: b.ConsoleSocket, NoPivot: b.NoPivot, NoNewKeyring: b.NoNewKeyring,
	}
	if o.PreserveFDs, o.ListenFDs, err = e.inherited(b.PreserveFds); err != nil {
		return o, nil, err
	}
	if o.Bundle, err = filepath.Abs(b.Bundle); err != nil {
		return o, nil, err
	}
	spec, err = e.loadSpec(o.Bundle)
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
	return printJSON(e, s)
}

func printJSON(e *env, v any) error {
	text, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(append(text, '\n'))
	return err
}

type ociKill struct {
	All    bool   `short:"a" help:"Signal all processes of the container."`
	ID     string `arg:"" help:"Name of the container."`
	Signal string `arg:"" optional:"" default:"SIGTERM" help:"Name or number of the signal."`
}

func (c *ociKill) Run(e *env, g *ociGlobals) error {
	sig, err := parseSignal(c.Signal)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Kill(c.ID, sig, c.All)
}

// parseSignal takes a number, or a name with or without SIG.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

type ociDelete struct {
	Force bool   `short:"f" help:"Kill the container if it runs; none is no error."`
	ID    string `arg:"" help:"Name of the container."`
}

func (c *ociDelete) Run(e *env, g *ociGlobals) error {
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Delete(c.ID, c.Force)
}
