package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"airplant/internal/hello"
	"airplant/lifecycle"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

type runCmd struct {
	Rm          bool     `name:"rm" help:"Remove the container when its program has ended."`
	Interactive bool     `short:"i" help:"Keep standard input."`
	TTY         bool     `name:"tty" short:"t" help:"Give the program a terminal."`
	Env         []string `short:"e" sep:"none" help:"Set a variable; without a value, pass ours on." placeholder:"NAME[=VALUE]"`
	EnvFile     []string `sep:"none" help:"Read variables from a file." placeholder:"FILE"`
	Workdir     string   `short:"w" help:"Working directory." placeholder:"DIR"`
	User        string   `short:"u" help:"User, by name or id, and group." placeholder:"USER[:GROUP]"`
	Volume      []string `short:"v" sep:"none" help:"Bind a file or folder of the host." placeholder:"SRC:DST[:ro]"`
	Tmpfs       []string `sep:"none" help:"Mount a tmpfs." placeholder:"DST[:OPTIONS]"`
	Name        string   `help:"Name of the container." placeholder:"NAME"`
	Hostname    string   `help:"Host name inside." placeholder:"NAME"`
	Entrypoint  *string  `help:"Program in place of the image's entrypoint." placeholder:"PROGRAM"`
	ReadOnly    bool     `help:"Make the root filesystem read-only."`
	CapAdd      []string `help:"Add a capability, or ALL." placeholder:"CAP"`
	CapDrop     []string `help:"Drop a capability, or ALL." placeholder:"CAP"`
	SecurityOpt []string `sep:"none" help:"seccomp=unconfined, seccomp=FILE, or no-new-privileges." placeholder:"OPTION"`
	Userns      string   `help:"Who we are inside: root, or keep-id[:uid=N,gid=N]." placeholder:"MODE"`
	Network     string   `help:"none, or host." enum:"none,host" default:"none"`
	Pull        string   `help:"When to pull the image." enum:"always,missing,never" default:"missing"`
	Platform    string   `help:"Platform of the image: os/arch[/variant]." placeholder:"PLATFORM"`
	Quiet       bool     `short:"q" help:"Print no progress while pulling."`
	Rootfs      string   `help:"Run on a folder, copy-on-write, in place of an image." placeholder:"DIR"`
	Args        []string `arg:"" optional:"" name:"image" help:"Image, program and its arguments; with --rootfs no image."`

	started time.Time
	exe     string // our file, for hello
}

// box is a container of ours in the making.
type box struct {
	lifecycle.RunOptions
	spec  *specs.Spec
	image string // what it is made of, for container.json
	id    string // of the image
	layer []string
}

func (c *runCmd) Run(e *env) error {
	c.started = e.started
	if c.TTY && !lifecycle.IsTerminal(e.stdin) {
		return fmt.Errorf("-t: %w", lifecycle.ErrNoTerminal)
	}
	h, err := e.home()
	if err != nil {
		return err
	}
	// A failed clean-up is told, and is no reason not to run.
	if err := h.Sweep(e.removeAsRoot); err != nil {
		e.report(err)
	}
	b, release, err := c.prepare(e)
	if err != nil {
		return err
	}
	defer release()
	return c.launch(e, h, b)
}

// prepare decides what the container is.
func (c *runCmd) prepare(e *env) (*box, func(), error) {
	id, err := identity()
	if err != nil {
		return nil, nil, err
	}
	m, user, err := c.ids(id)
	if err != nil {
		return nil, nil, err
	}
	b := &box{spec: lifecycle.Default(m)}
	b.DieWithParent = true
	release := func() {}
	switch {
	case c.Rootfs != "":
		err = c.fromFolder(b)
	case len(c.Args) == 0:
		err = errors.New("an image is missing")
	case c.Args[0] == "hello":
		b.image = "hello"
		c.exe, err = e.self()
	default:
		release, err = c.fromImage(e, b, user)
	}
	if err == nil && user != "" && c.User == "" {
		b.spec.Process.User = specs.User{UID: parseUint(user), GID: parseUint(group(user))}
	}
	if err == nil {
		err = c.edit(e, b.spec)
	}
	if err != nil && release != nil {
		release()
	}
	return b, release, err
}

// ids finds the map, and the user of the program where the map names one.
func (c *runCmd) ids(id *userns.Identity) (m userns.Map, user string, err error) {
	switch mode, opts, _ := strings.Cut(c.Userns, ":"); mode {
	case "", "root":
		return id.Map(), "", nil
	case "keep-id":
		uid, gid := id.UID, id.GID
		for o := range strings.SplitSeq(opts, ",") {
			if _, err := fmt.Sscanf(o, "uid=%d", &uid); err == nil || o == "" {
				continue
			}
			if _, err := fmt.Sscanf(o, "gid=%d", &gid); err != nil {
				return m, "", fmt.Errorf("--userns %s: unknown option %q", c.Userns, o)
			}
		}
		return id.Keep(uid, gid), fmt.Sprintf("%d:%d", uid, gid), nil
	}
	return m, "", fmt.Errorf("--userns %s: want root or keep-id[:uid=N,gid=N]", c.Userns)
}

// launch makes the container's folder and runs it.
func (c *runCmd) launch(e *env, h lifecycle.Home, b *box) (err error) {
	id := lifecycle.NewID()
	name := c.Name
	if name == "" {
		name = id[:12]
	}
	made, err := h.NewBox(lifecycle.BoxRecord{
		ID: id, Name: name, Image: b.image, ImageID: b.id, Layers: b.layer, Remove: c.Rm,
		Config: c.changed(b), MountPoints: c.mountPoints(b),
	})
	if err != nil {
		return err
	}
	status := 125
	defer func() { err = errors.Join(err, made.End(status, e.removeAsRoot)) }()
	if err := c.describe(made.Folder(), name, b); err != nil {
		return err
	}
	if err := c.fill(made.Folder(), b); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	r := &lifecycle.Runtime{Root: filepath.Join(h.Runtime, "run"), Filters: e.filters, Warn: e.warn}
	b.Bundle = made.Folder()
	status, err = r.Run(id, b.spec, &b.RunOptions)
	if err != nil {
		return statusOf(err)
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

// connect gives the program our standard input, or an empty one.
func (c *runCmd) connect() error {
	if c.Interactive || c.TTY {
		return nil
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("dup3", unix.Dup3(int(null.Fd()), 0, 0)), null.Close())
}

// describe completes the configuration for a container's folder.
func (c *runCmd) describe(folder, name string, b *box) error {
	spec := b.spec
	if spec.Hostname = c.Hostname; c.Hostname == "" {
		spec.Hostname = name[:min(len(name), 64)]
	}
	spec.Process.Terminal = c.TTY
	if b.image == "hello" {
		c.describeHello(spec)
		return nil
	}
	b.Overlay.At = filepath.Join(folder, "rootfs")
	if len(b.Overlay.Parts) == 0 {
		b.Overlay.Upper, b.Overlay.Work = filepath.Join(folder, "upper"), filepath.Join(folder, "work")
	}
	spec.Process.Env = append(spec.Process.Env, "HOSTNAME="+spec.Hostname)
	for _, name := range c.etcFiles() {
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(folder, name), Options: []string{"bind", "rprivate"}})
	}
	return nil
}

// fill makes the files of the container's folder.
func (c *runCmd) fill(folder string, b *box) error {
	dirs := []string{"rootfs"}
	files := map[string]string{}
	if b.image == "hello" {
		dirs = append(dirs, "rootfs/proc", "rootfs/sys", "rootfs/dev")
		files["rootfs/"+hello.Name] = ""
	} else if err := c.etc(files, b.spec.Hostname); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(folder, dir), 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// etcFiles are files of /etc that depend on the container.
func (c *runCmd) etcFiles() []string {
	list := []string{"hostname", "hosts"}
	if c.Network == "host" {
		list = append(list, "resolv.conf")
	}
	return list
}

func (c *runCmd) etc(files map[string]string, hostname string) error {
	files["hostname"] = hostname + "\n"
	files["hosts"] = "127.0.0.1\tlocalhost " + hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if c.Network != "host" {
		return nil
	}
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	files["resolv.conf"] = string(text)
	return nil
}

// describeHello makes the built-in image of the configuration: our own binary,
// by a name under which it only looks around.
func (c *runCmd) describeHello(spec *specs.Spec) {
	spec.Root.Readonly = true
	spec.Process.Args = []string{"/" + hello.Name}
	spec.Process.Cwd = "/"
	spec.Process.Env = append(spec.Process.Env,
		fmt.Sprintf("%s=%d", hello.EnvStarted, c.started.UnixNano()),
		hello.EnvDriver+"=bind, read-only", hello.EnvNetwork+"="+c.Network)
	spec.Mounts = append(spec.Mounts, specs.Mount{
		Destination: "/" + hello.Name, Type: "bind", Source: c.exe, Options: []string{"bind", "ro", "nosuid", "nodev"},
	})
}

// readEnvFile reads lines NAME=VALUE, or NAME for one of ours.
func readEnvFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := strings.TrimLeft(s.Text(), " \t"); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, s.Err()
}
