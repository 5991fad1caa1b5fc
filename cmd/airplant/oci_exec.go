package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"airplant/lifecycle"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// execFailed is runc's status for an exec that did not come to its program.
const execFailed = 255

type ociExec struct {
	ConsoleSocket  string   `help:"Unix socket that takes the terminal's master." placeholder:"SOCKET"`
	PidFile        string   `help:"File that takes the pid of the process." placeholder:"FILE"`
	PidfdSocket    string   `help:"Unix socket that takes a pidfd of the process." placeholder:"SOCKET"`
	Process        string   `short:"p" help:"File with the process; the configured one without it." placeholder:"FILE"`
	Detach         bool     `short:"d" help:"Leave the process running."`
	Cwd            string   `help:"Working directory." placeholder:"DIR"`
	Env            []string `short:"e" sep:"none" help:"Set a variable." placeholder:"NAME=VALUE"`
	TTY            bool     `name:"tty" short:"t" help:"Give the process a terminal."`
	User           string   `short:"u" help:"User and group, by number." placeholder:"UID[:GID]"`
	AdditionalGids []uint32 `short:"g" help:"Additional groups." placeholder:"GID"`
	Cap            []string `short:"c" help:"Add a capability." placeholder:"CAP"`
	NoNewPrivs     bool     `help:"Set no_new_privs."`
	PreserveFds    int      `name:"preserve-fds" help:"Descriptors after standard error that the program inherits." placeholder:"N"`
	ProcessLabel   string   `help:"Label of SELinux that the process gets." placeholder:"LABEL"`
	Apparmor       string   `help:"Profile of AppArmor that the process gets." placeholder:"PROFILE"`
	Cgroup         string   `help:"Put the process into a cgroup below the container's." placeholder:"PATH"`
	IgnorePaused   bool     `help:"Also in a paused container."`
	ID             string   `arg:"" help:"Name of the container."`
	Args           []string `arg:"" optional:"" help:"Program and arguments."`
}

func (c *ociExec) Run(e *env, g *ociGlobals) error {
	status, err := c.exec(e, g)
	if err != nil {
		return &exited{err, execFailed}
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

func (c *ociExec) exec(e *env, g *ociGlobals) (int, error) {
	r, err := g.runtime(e)
	if err != nil {
		return 0, err
	}
	process, err := c.process(r)
	if err != nil {
		return 0, err
	}
	o := &lifecycle.ExecOptions{PidFile: c.PidFile, ConsoleSocket: c.ConsoleSocket, PidfdSocket: c.PidfdSocket, Detach: c.Detach, Cgroup: c.Cgroup}
	if o.PreserveFDs, o.ListenFDs, err = e.inherited(c.PreserveFds); err != nil {
		return 0, err
	}
	return r.Exec(c.ID, process, o)
}

// process is the process of a file, or the container's with what flags change.
func (c *ociExec) process(r *lifecycle.Runtime) (*specs.Process, error) {
	configured, err := r.Process(c.ID, c.IgnorePaused)
	if err != nil {
		return nil, err
	}
	if c.Process != "" {
		text, err := os.ReadFile(c.Process)
		if err != nil {
			return nil, err
		}
		p := &specs.Process{}
		if err := json.Unmarshal(text, p); err != nil {
			return nil, fmt.Errorf("read %s: %w", c.Process, err)
		}
		if p.Capabilities == nil {
			p.Capabilities = configured.Capabilities
		}
		return p, nil
	}
	if len(c.Args) == 0 {
		return nil, errors.New("a program is missing")
	}
	p := *configured
	p.Args, p.Terminal, p.ConsoleSize = c.Args, c.TTY, nil
	p.Env = slices.Concat(p.Env, c.Env)
	p.NoNewPrivileges = p.NoNewPrivileges || c.NoNewPrivs
	p.User.AdditionalGids = slices.Concat(p.User.AdditionalGids, c.AdditionalGids)
	if c.Cwd != "" {
		p.Cwd = c.Cwd
	}
	if c.Apparmor != "" {
		p.ApparmorProfile = c.Apparmor
	}
	if c.ProcessLabel != "" {
		p.SelinuxLabel = c.ProcessLabel
	}
	if c.User != "" {
		if p.User.UID, p.User.GID, err = numbers(c.User); err != nil {
			return nil, err
		}
	}
	return &p, c.addCapabilities(&p)
}

// numbers reads UID[:GID].
func numbers(user string) (uid, gid uint32, err error) {
	u, g, hasGroup := strings.Cut(user, ":")
	n, err := strconv.ParseUint(u, 10, 32)
	if err == nil && hasGroup {
		var m uint64
		m, err = strconv.ParseUint(g, 10, 32)
		gid = uint32(m)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("--user %q: want UID[:GID]", user)
	}
	return uint32(n), gid, nil
}

func (c *ociExec) addCapabilities(p *specs.Process) error {
	if len(c.Cap) == 0 {
		return nil
	}
	caps := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		caps = *p.Capabilities
	}
	for _, name := range c.Cap {
		n, err := capability(name)
		if err != nil {
			return fmt.Errorf("--cap: %w", err)
		}
		for _, set := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted} {
			*set = append(slices.Clone(*set), n)
		}
	}
	p.Capabilities = &caps
	return nil
}
