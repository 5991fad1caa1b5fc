package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"airplant/fsfuse"
	"airplant/image"
	"airplant/lifecycle"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// fromImage finds the image, pulls it where that is wanted, and takes its
// configuration.
func (c *runCmd) fromImage(e *env, b *box, user string) (release func(), err error) {
	names, err := e.fullNames(c.Args[0])
	if err != nil {
		return nil, err
	}
	c.Args[0] = names[0]
	ref, err := parseReference(c.Args[0])
	if err != nil {
		return nil, err
	}
	platform, err := parsePlatform(c.Platform)
	if err != nil {
		return nil, err
	}
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	release, err = store.Hold(context.Background())
	if err != nil {
		return nil, err
	}
	img, err := store.Resolve(ref, platform)
	stale := c.Pull == "always" || err == nil && changed(ref, img.Pulled)
	if c.Pull != "never" && (stale || errors.Is(err, image.ErrNotFound)) {
		if err := c.pull(e); err != nil {
			return release, err
		}
		img, err = store.Resolve(ref, platform)
	}
	if err != nil {
		return release, err
	}
	o := image.Overrides{Args: dropDashes(c.Args[1:]), WorkingDir: c.Workdir, User: c.User, Entrypoint: c.entrypoint()}
	if user != "" && c.User == "" {
		o.User = user
	}
	b.image, b.id, b.layer = img.Name, string(img.ConfigDigest), img.Layers
	if b.Overlay, err = fsfuse.NewOverlay(img.Layers); err != nil {
		return release, err
	}
	return release, img.Apply(b.spec, o)
}

// entrypoint is what stands in place of the image's: nil for that one, and empty
// for none.
func (c *runCmd) entrypoint() []string {
	switch {
	case c.Entrypoint == nil:
		return nil
	case *c.Entrypoint == "":
		return []string{}
	}
	return []string{*c.Entrypoint}
}

// changed reports whether an archive or layout was written to after it was
// pulled. That is looked at here because the worker costs some milliseconds.
func changed(ref image.Reference, pulled time.Time) bool {
	name := ref.Path
	switch ref.Transport {
	case image.Registry:
		return false
	case image.Layout:
		name = filepath.Join(name, "index.json")
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return false // what was pulled is there
	}
	return time.Unix(st.Mtim.Unix()).After(pulled) || time.Unix(st.Ctim.Unix()).After(pulled)
}

// pull pulls in the worker. Its result, the image's id, is not ours to print.
func (c *runCmd) pull(e *env) error {
	p := pullCmd{Platform: c.Platform, Policy: "missing", Quiet: c.Quiet, NoID: true, Image: c.Args[0]}
	if c.Pull == "always" {
		p.Policy = "always"
	}
	return p.Run(e)
}

// dropDashes drops one leading "--", as in `run IMAGE -- program`.
func dropDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

// fromFolder takes a folder as the one layer of the root filesystem.
func (c *runCmd) fromFolder(b *box) error {
	dir, err := filepath.Abs(c.Rootfs)
	if err != nil {
		return err
	}
	if st, err := os.Stat(dir); err != nil {
		return err
	} else if !st.IsDir() {
		return fmt.Errorf("--rootfs %s: not a directory", dir)
	}
	if c.User != "" && !numeric(c.User) {
		return fmt.Errorf("--user %s: with --rootfs a user is given by number", c.User)
	}
	b.image = "rootfs:" + dir
	if b.Overlay, err = fsfuse.NewOverlay([]string{dir}); err != nil {
		return err
	}
	if dir == "/" {
		if b.Overlay.Parts, err = fsfuse.HostRoot(); err != nil {
			return err
		}
	}
	p := b.spec.Process
	if p.Args = dropDashes(c.Args); len(p.Args) == 0 {
		p.Args = []string{"sh"}
	}
	if c.Entrypoint != nil && *c.Entrypoint != "" {
		p.Args = append([]string{*c.Entrypoint}, dropDashes(c.Args)...)
	}
	p.Cwd = path.Join("/", c.Workdir)
	if c.User != "" {
		p.User = specs.User{UID: parseUint(c.User), GID: parseUint(group(c.User))}
	}
	return nil
}

func numeric(user string) bool { return strings.Trim(user, "0123456789:") == "" }

func group(user string) string {
	_, g, _ := strings.Cut(user, ":")
	return g
}

func parseUint(s string) uint32 {
	s, _, _ = strings.Cut(s, ":")
	n, _ := strconv.ParseUint(s, 10, 32) // of a checked string; 0 for none
	return uint32(n)
}

// edit applies the flags that are the same whatever the container is made of.
func (c *runCmd) edit(e *env, spec *specs.Spec) error {
	if c.Network == "host" {
		lifecycle.ShareNetwork(spec)
	}
	spec.Root.Readonly = c.ReadOnly
	if err := c.environment(e, spec); err != nil {
		return err
	}
	if err := c.capabilities(spec); err != nil {
		return err
	}
	if err := c.security(spec); err != nil {
		return err
	}
	for _, t := range c.Tmpfs {
		dst, opts, _ := strings.Cut(t, ":")
		if !path.IsAbs(dst) {
			return fmt.Errorf("--tmpfs %s: the path is not absolute", t)
		}
		m := specs.Mount{Destination: dst, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}}
		if opts != "" {
			m.Options = append(m.Options, strings.Split(opts, ",")...)
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	for _, v := range c.Volume {
		m, err := volume(v)
		if err != nil {
			return fmt.Errorf("--volume %s: %w", v, err)
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return nil
}

// environment sets variables: files first, then flags, the later wins.
func (c *runCmd) environment(e *env, spec *specs.Spec) error {
	var list []string
	for _, name := range c.EnvFile {
		more, err := readEnvFile(name)
		if err != nil {
			return fmt.Errorf("--env-file: %w", err)
		}
		list = append(list, more...)
	}
	env := spec.Process.Env
	if c.TTY {
		env = append(env, "TERM=xterm")
	}
	for _, v := range append(list, c.Env...) {
		name, _, ok := strings.Cut(v, "=")
		if name == "" {
			return fmt.Errorf("--env %q: no name", v)
		}
		if !ok {
			value := e.getenv(name)
			if value == "" {
				continue
			}
			v = name + "=" + value
		}
		env = slices.DeleteFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		env = append(env, v)
	}
	spec.Process.Env = env
	return nil
}

func (c *runCmd) capabilities(spec *specs.Spec) error {
	set := slices.Clone(spec.Process.Capabilities.Bounding)
	for _, name := range c.CapDrop {
		if strings.EqualFold(name, "ALL") {
			set = nil
		}
	}
	for _, name := range c.CapAdd {
		if strings.EqualFold(name, "ALL") {
			set = plan.AllCapabilities()
		}
	}
	for _, name := range c.CapDrop {
		n, err := capability(name)
		if err != nil {
			return fmt.Errorf("--cap-drop: %w", err)
		}
		set = slices.DeleteFunc(set, func(have string) bool { return have == n })
	}
	for _, name := range c.CapAdd {
		n, err := capability(name)
		if err != nil {
			return fmt.Errorf("--cap-add: %w", err)
		}
		if n != "" && !slices.Contains(set, n) {
			set = append(set, n)
		}
	}
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
	if spec.Process.User.UID != 0 {
		// execve by another user drops what is only permitted.
		spec.Process.Capabilities.Effective, spec.Process.Capabilities.Permitted = nil, nil
	}
	return nil
}

// capability is a capability's full name; ALL is none.
func capability(name string) (string, error) {
	name = strings.ToUpper(name)
	if name == "ALL" {
		return "", nil
	}
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	if !slices.Contains(plan.AllCapabilities(), name) {
		return "", fmt.Errorf("unknown capability %q", name)
	}
	return name, nil
}

// volume reads SRC:DST[:OPTIONS].
func volume(v string) (specs.Mount, error) {
	f := strings.SplitN(v, ":", 3)
	if len(f) < 2 {
		return specs.Mount{}, errors.New("want SRC:DST[:ro]")
	}
	src, dst := f[0], f[1]
	if !strings.ContainsRune(src, '/') && src != "." && src != ".." {
		return specs.Mount{}, errors.New("named volumes are not supported yet; give a path with a slash")
	}
	if !path.IsAbs(dst) {
		return specs.Mount{}, fmt.Errorf("%s is not an absolute path", dst)
	}
	src, err := filepath.Abs(src)
	if err != nil {
		return specs.Mount{}, err
	}
	if _, err := os.Stat(src); err != nil {
		return specs.Mount{}, err
	}
	m := specs.Mount{Destination: dst, Type: "bind", Source: src, Options: []string{"rbind"}}
	propagation := "rprivate"
	if len(f) == 3 {
		for o := range strings.SplitSeq(f[2], ",") {
			switch o {
			case "rw":
			case "ro":
				m.Options = append(m.Options, "rro")
			case "z", "Z": // labels of SELinux, which is not supported
			case "rprivate", "private", "rslave", "slave", "rshared", "shared":
				propagation = o
			case "nosuid", "nodev", "noexec":
				m.Options = append(m.Options, o)
			default:
				return m, fmt.Errorf("unknown option %q", o)
			}
		}
	}
	m.Options = append(m.Options, propagation)
	return m, nil
}
