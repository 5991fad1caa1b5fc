package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"airplant/lifecycle"
	"airplant/lifecycle/criu"

	"golang.org/x/sys/unix"
)

// imageFlags are common to checkpoint and restore.
type imageFlags struct {
	ImagePath         string   `help:"Folder of the images." default:"checkpoint" placeholder:"DIR"`
	WorkPath          string   `help:"Folder of logs; that of the images without it." placeholder:"DIR"`
	TCPEstablished    bool     `name:"tcp-established" help:"Keep TCP connections."`
	ExtUnixSk         bool     `name:"ext-unix-sk" help:"Allow unix sockets whose peer is outside."`
	ShellJob          bool     `help:"Allow a terminal that is not the container's."`
	FileLocks         bool     `help:"Keep locks of files."`
	LazyPages         bool     `help:"Bring memory only when it is used."`
	ManageCgroupsMode string   `help:"What becomes of cgroups: soft, full, strict or ignore." enum:"soft,full,strict,ignore" default:"ignore"`
	EmptyNs           []string `name:"empty-ns" sep:"none" help:"Do not keep what is in this namespace: network." placeholder:"KIND"`
	AutoDedup         bool     `help:"Remove memory from earlier images that later ones have."`
}

// images are the choices of the flags.
func (c *imageFlags) images(g *ociGlobals) (*lifecycle.Images, error) {
	o := &lifecycle.Images{
		CRIU: g.Criu, TCPEstablished: c.TCPEstablished, ExternalSockets: c.ExtUnixSk, ShellJob: c.ShellJob,
		FileLocks: c.FileLocks, LazyPages: c.LazyPages, AutoDedup: c.AutoDedup,
		ManageCgroups: map[string]int{
			"soft": criu.CgroupSoft, "full": criu.CgroupFull, "strict": criu.CgroupStrict, "ignore": criu.CgroupIgnore,
		}[c.ManageCgroupsMode],
	}
	var err error
	if o.Path, err = filepath.Abs(c.ImagePath); err != nil {
		return nil, err
	}
	if c.WorkPath != "" {
		if o.Work, err = filepath.Abs(c.WorkPath); err != nil {
			return nil, err
		}
	}
	for _, kind := range c.EmptyNs {
		if kind != "network" {
			return nil, fmt.Errorf("--empty-ns %s: only network can be left empty", kind)
		}
		o.EmptyNamespaces |= unix.CLONE_NEWNET
	}
	return o, nil
}

type ociCheckpoint struct {
	imageFlags   `embed:""`
	ParentPath   string `help:"Images of an earlier pre-dump, relative to the folder of the images." placeholder:"DIR"`
	LeaveRunning bool   `help:"Let the container run on."`
	PreDump      bool   `help:"Write only memory, and let the container run on."`
	PageServer   string `help:"Send memory to a page server." placeholder:"ADDRESS:PORT"`
	StatusFd     int    `help:"Descriptor that takes a zero byte when lazy pages can be had." default:"-1" placeholder:"FD"`
	ID           string `arg:"" help:"Name of the container."`
}

func (c *ociCheckpoint) Run(e *env, g *ociGlobals) error {
	o, err := c.images(g)
	if err != nil {
		return err
	}
	o.LeaveRunning, o.PreDump, o.Parent = c.LeaveRunning, c.PreDump, c.ParentPath
	if c.ParentPath != "" {
		if filepath.IsAbs(c.ParentPath) {
			return fmt.Errorf("--parent-path %s is not relative to the folder of the images", c.ParentPath)
		}
		if st, err := os.Stat(filepath.Join(o.Path, c.ParentPath)); err != nil || !st.IsDir() {
			return fmt.Errorf("--parent-path %s is no folder below %s", c.ParentPath, o.Path)
		}
	}
	if c.PageServer != "" {
		at := strings.LastIndexByte(c.PageServer, ':')
		if at > 0 {
			o.PageServer = strings.Trim(c.PageServer[:at], "[]")
			o.PageServerPort, err = strconv.Atoi(c.PageServer[at+1:])
		}
		if at <= 0 || err != nil {
			return fmt.Errorf("--page-server %s: not ADDRESS:PORT", c.PageServer)
		}
	}
	if c.StatusFd >= 0 {
		flags, err := unix.FcntlInt(uintptr(c.StatusFd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
			return fmt.Errorf("--status-fd %d is not open for writing", c.StatusFd)
		}
		o.StatusFD = os.NewFile(uintptr(c.StatusFd), "status")
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	return r.Checkpoint(c.ID, o)
}

type ociRestore struct {
	imageFlags      `embed:""`
	Bundle          string `short:"b" help:"The bundle; the current folder without it." placeholder:"DIR" default:"."`
	ConsoleSocket   string `help:"Unix socket that takes the terminal's master." placeholder:"SOCKET"`
	Detach          bool   `short:"d" help:"Leave the container running."`
	Keep            bool   `help:"Do not remove the container when it has ended."`
	PidFile         string `help:"File that takes the pid of the first process." placeholder:"FILE"`
	NoSubreaper     bool   `help:"Accepted for engines: no process of ours becomes a reaper."`
	NoPivot         bool   `help:"Accepted for engines: CRIU decides."`
	LSMProfile      string `name:"lsm-profile" help:"Profile of a security module, as TYPE:NAME." placeholder:"PROFILE"`
	LSMMountContext string `name:"lsm-mount-context" help:"Label for mounts." placeholder:"LABEL"`
	ID              string `arg:"" help:"Name of the container."`
}

func (c *ociRestore) Run(e *env, g *ociGlobals) error {
	images, err := c.images(g)
	if err != nil {
		return err
	}
	images.LSMProfile, images.LSMMountContext = c.LSMProfile, c.LSMMountContext
	o := &lifecycle.RunOptions{Detach: c.Detach, Keep: c.Keep}
	o.PidFile, o.ConsoleSocket = c.PidFile, c.ConsoleSocket
	if o.Bundle, err = filepath.Abs(c.Bundle); err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	spec, err := lifecycle.LoadSpec(o.Bundle)
	if err != nil {
		return err
	}
	status, err := r.Restore(c.ID, spec, o, images)
	if err == nil && status != 0 {
		return exitStatus(status)
	}
	return err
}
